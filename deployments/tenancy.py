"""Who is calling: tenants and the keys that name them.

A key reads `wn_live_<key id>_<secret><checksum>`: the id finds the record, the checksum lets a typo
be refused without looking, and only a hash of the secret is kept. The secret has 256 random bits,
so a plain SHA-256 of it cannot be searched and no slow hash is needed.

Knows no HTTP and no Ray.
"""

import hashlib
import hmac
import json
import logging
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from deployments.deadline import Clock
from deployments.errors import Unauthorized
from deployments.stores.base import TENANT_NAME

logger = logging.getLogger(__name__)

_PREFIX = "wn_live_"
_ID_LENGTH = 8
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RELOAD_S = 1.0


class KeyRecord(BaseModel):
    """What is kept of a key: whose it is, and the SHA-256 (hex) of its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key_id: str
    tenant: Annotated[str, StringConstraints(pattern=TENANT_NAME)]
    secret_sha256: str


# An error of it is logged, and a hash is nothing to log.
_RECORDS = TypeAdapter(list[KeyRecord], config=ConfigDict(hide_input_in_errors=True))


@dataclass(frozen=True, slots=True)
class Tenant:
    id: str


def new_key(tenant: str) -> tuple[str, KeyRecord]:
    """A fresh key, to be shown once, and the record to keep."""
    key_id = _random(_ID_LENGTH)
    secret = _random(_SECRET_LENGTH)
    key = f"{_PREFIX}{key_id}_{secret}{_checksum(key_id + secret)}"
    return key, KeyRecord(key_id=key_id, tenant=tenant, secret_sha256=_sha256(secret))


def write_keys(path: Path, records: list[KeyRecord]) -> None:
    """Replace the key file in one step, readable by its owner alone."""
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps([record.model_dump() for record in records], indent=1))
    fresh.replace(path)


def read_keys(path: Path) -> list[KeyRecord]:
    """Raises OSError, or ValueError if it is not a whole file of keys."""
    return _RECORDS.validate_json(path.read_bytes())


class KeyRing:
    """The keys of a file, read again when it changes.

    There is none without a file that can be read; one that later cannot leaves the keys as they
    were.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._checked_at = clock()
        self._changed_ns = -1
        self._records: dict[str, KeyRecord] = {}
        self._load()

    def tenant_of(self, key: str) -> Tenant:
        """Raises Unauthorized for a key that is malformed, unknown or has another secret."""
        self._reload()
        key_id, _, rest = key.removeprefix(_PREFIX).partition("_")
        secret, checksum = rest[:_SECRET_LENGTH], rest[_SECRET_LENGTH:]
        well_formed = key.startswith(_PREFIX) and key.isascii()
        if not well_formed or checksum != _checksum(key_id + secret):
            raise Unauthorized("this is not a Winnow API key: check that it was copied whole")
        record = self._records.get(key_id)
        expected = record.secret_sha256 if record else ""
        if not hmac.compare_digest(expected, _sha256(secret)) or record is None:
            raise Unauthorized("this API key is not known here")
        return Tenant(record.tenant)

    def _reload(self) -> None:
        now = self._clock()
        if now - self._checked_at < _RELOAD_S:
            return
        self._checked_at = now
        try:
            self._load()
        except (OSError, ValueError):
            logger.exception("the key file cannot be read: the keys stay as they were")

    def _load(self) -> None:
        changed_ns = self._path.stat().st_mtime_ns
        if changed_ns != self._changed_ns:
            self._records = {record.key_id: record for record in read_keys(self._path)}
            self._changed_ns = changed_ns


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(text: str) -> str:
    """CRC32 in base 62, as GitHub's tokens carry it."""
    value, digits = zlib.crc32(text.encode()), ""
    while value:
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits.rjust(_CHECKSUM_LENGTH, "0")


def _sha256(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
