"""API keys: how they are made, checked and stored, and the tenant and scopes that each gives.

A key reads `wn_live_<key id>_<secret><checksum>`: the id finds the record, the checksum lets a typo
be refused without a lookup, and only a hash of the secret is stored. The secret has 256 random
bits, so a plain SHA-256 of it cannot be brute-forced and no slow hash is needed.

Knows no HTTP, no Ray and no database: a KeyRing is given the records it checks against.
"""

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from deployments.errors import Forbidden, Unauthorized
from deployments.request.deadline import Clock
from deployments.request.private_file import write_private
from deployments.stores.base import TENANT_NAME

_PREFIX = "wn_live_"
_ID_LENGTH = 8
_SECRET_LENGTH = 43
_CHECKSUM_LENGTH = 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# As long as a hash, so that an unknown id takes as long to refuse as a known one.
_UNKNOWN_HASH = "-" * 64

DEFAULT_PLAN = "default"

Scope = Literal["read", "write", "admin"]
ALL_SCOPES: tuple[Scope, ...] = get_args(Scope)
TenantId = Annotated[str, StringConstraints(pattern=TENANT_NAME)]


class KeyRecord(BaseModel):
    """A stored key: its tenant, its scopes and the SHA-256 (hex) of its secret.

    `last4` are the last characters of the whole key. Times are seconds since 1970.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    key_id: str
    tenant: TenantId
    secret_sha256: str
    last4: str = ""
    scopes: tuple[Scope, ...] = ALL_SCOPES
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None


# Validation errors are logged, and a hash must not be.
_RECORDS = TypeAdapter(list[KeyRecord], config=ConfigDict(hide_input_in_errors=True))


@dataclass(frozen=True, slots=True)
class Tenant:
    """An authenticated caller: the tenant, its plan, and the key it used with that key's scopes."""

    id: str
    plan: str = DEFAULT_PLAN
    key_id: str = ""
    scopes: frozenset[Scope] = frozenset(ALL_SCOPES)

    def require(self, scope: Scope) -> None:
        """Raise Forbidden, naming the scope, unless the key has it."""
        if scope not in self.scopes:
            raise Forbidden(
                f"this API key lacks the scope '{scope}': use a key that has it, or create one"
            )


@dataclass(frozen=True, slots=True)
class RegistryChanges:
    """Keys that are new or have changed, and plans of tenants, None for a disabled one, as the
    registry has them at a revision; all that are valid if it is the `whole`."""

    revision: int
    keys: tuple[KeyRecord, ...]
    plans: Mapping[str, str | None]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    secret_sha256: str
    expires: float
    tenant: str
    scopes: frozenset[Scope]


@dataclass(slots=True)
class KeyRing:
    """The keys that are valid now. `clock` returns seconds since 1970."""

    clock: Clock
    _entries: dict[str, _Entry] = field(default_factory=dict)
    _plans: dict[str, str] = field(default_factory=dict)

    def apply(self, changes: RegistryChanges) -> None:
        """Take up changes; the whole replaces all that was known. Its time is that of what has
        changed, not of all keys."""
        if changes.whole:
            self._entries, self._plans = {}, {}
        now = self.clock()
        for record in changes.keys:
            expires = float("inf") if record.expires is None else record.expires
            if record.revoked is not None or expires <= now:
                self._entries.pop(record.key_id, None)
            else:
                scopes = frozenset(record.scopes)
                entry = _Entry(record.secret_sha256, expires, record.tenant, scopes)
                self._entries[record.key_id] = entry
        for tenant, plan in changes.plans.items():
            if plan is None:
                self._plans.pop(tenant, None)
            else:
                self._plans[tenant] = plan

    def tenant_of(self, key: str) -> Tenant:
        """Return the tenant that a key belongs to.

        Raises Unauthorized if the key is malformed; with one other message if it is unknown,
        expired, revoked, has a wrong secret or belongs to a disabled tenant.
        """
        key_id, _, rest = key.removeprefix(_PREFIX).partition("_")
        secret, checksum = rest[:_SECRET_LENGTH], rest[_SECRET_LENGTH:]
        well_formed = key.startswith(_PREFIX) and key.isascii()
        if not well_formed or checksum != _checksum(key_id + secret):
            raise Unauthorized("this is not a Winnow API key: check that it was copied whole")
        entry = self._entries.get(key_id)
        expected = entry.secret_sha256 if entry else _UNKNOWN_HASH
        known = hmac.compare_digest(expected, _sha256(secret))
        plan = self._plans.get(entry.tenant) if entry else None
        if not known or entry is None or plan is None or entry.expires <= self.clock():
            raise Unauthorized("this API key is not known here")
        return Tenant(entry.tenant, plan, key_id, entry.scopes)


def new_key(
    tenant: str,
    scopes: tuple[Scope, ...] = ALL_SCOPES,
    created: float = 0.0,
    expires: float | None = None,
) -> tuple[str, KeyRecord]:
    """Make a key. Return it, to be shown once, and the record to store."""
    key_id = _random(_ID_LENGTH)
    secret = _random(_SECRET_LENGTH)
    key = f"{_PREFIX}{key_id}_{secret}{_checksum(key_id + secret)}"
    record = KeyRecord(
        key_id=key_id,
        tenant=tenant,
        secret_sha256=_sha256(secret),
        last4=key[-4:],
        scopes=scopes,
        created=created,
        expires=expires,
    )
    return key, record


def write_keys(path: Path, records: list[KeyRecord]) -> None:
    """Replace the key file atomically, with mode 0600."""
    write_private(path, _RECORDS.dump_json(records, indent=1))


def read_keys(path: Path) -> list[KeyRecord]:
    """Read a key file. Raises OSError, or ValueError if it is malformed."""
    return _RECORDS.validate_json(path.read_bytes())


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
