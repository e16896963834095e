"""API keys: shown once, stored as a hash, refused if anything about them is wrong."""

import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deployments.errors import Unauthorized
from deployments.tenants.api_keys import (
    ALL_SCOPES,
    KeyRecord,
    KeyRing,
    RegistryChanges,
    new_key,
    read_keys,
    write_keys,
)

KEY, RECORD = new_key("acme")


def ring_of(*records: KeyRecord, now: float = 0.0) -> KeyRing:
    ring = KeyRing(lambda: now)
    plans = {record.tenant: "default" for record in records}
    ring.apply(RegistryChanges(1, records, plans, whole=True))
    return ring


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    """A KeyRing with KEY."""
    return ring_of(RECORD)


def test_a_key_gives_its_tenant() -> None:
    key, record = new_key("acme")
    other_key, other = new_key("globex")
    ring = ring_of(record, other)
    assert ring.tenant_of(key).id == "acme"
    assert ring.tenant_of(other_key).id == "globex"


def test_the_file_is_private_and_holds_no_secret(keys_file: Path) -> None:
    key, record = new_key("acme")
    write_keys(keys_file, [record])
    assert keys_file.stat().st_mode & 0o077 == 0
    secret = key.rsplit("_", 1)[1]
    assert secret not in keys_file.read_text()
    assert read_keys(keys_file) == [record]


def test_a_file_of_the_first_version_is_read(keys_file: Path) -> None:
    """A key without scopes has all of them."""
    old = RECORD.model_dump(include={"key_id", "tenant", "secret_sha256"})
    keys_file.write_text(json.dumps([old]))
    [record] = read_keys(keys_file)
    assert ring_of(record).tenant_of(KEY).scopes == set(ALL_SCOPES)


def test_a_key_with_another_secret_is_refused() -> None:
    _, record = new_key("acme")
    stolen_id, _ = new_key("acme")
    with pytest.raises(Unauthorized, match="not known"):
        ring_of(record).tenant_of(stolen_id)


def test_a_key_is_valid_until_it_expires() -> None:
    key, record = new_key("acme", expires=10.0)
    assert ring_of(record, now=9.9).tenant_of(key).id == "acme"
    with pytest.raises(Unauthorized, match="not known"):
        ring_of(record, now=10.0).tenant_of(key)


@given(st.integers(0, 200), st.sampled_from(string.printable))
def test_a_key_with_one_character_changed_is_refused(ring: KeyRing, place: int, other: str) -> None:
    place %= len(KEY)
    changed = KEY[:place] + other + KEY[place + 1 :]
    if changed == KEY:
        assert ring.tenant_of(changed).id == "acme"
    else:
        with pytest.raises(Unauthorized):
            ring.tenant_of(changed)


@given(st.text())
def test_any_text_is_refused_without_a_crash(ring: KeyRing, text: str) -> None:
    with pytest.raises(Unauthorized):
        ring.tenant_of(text)


@pytest.mark.parametrize("tenant", ["acme", "A", "a-b_C", "0", "a" * 63])
def test_valid_tenant_names(tenant: str) -> None:
    assert new_key(tenant)[1].tenant == tenant


@pytest.mark.parametrize("tenant", ["", ".ab", "a..b", "a/b", "-a", "_", "ä", "a\n", "a" * 64])
def test_invalid_tenant_names(tenant: str) -> None:
    with pytest.raises(ValidationError):
        new_key(tenant)


BROKEN = [b"", b"[{", b"5", b"[5]", b"\xff", b'[{"key_id": "x"}]', None]


def test_a_hash_is_not_logged(keys_file: Path) -> None:
    write_keys(keys_file, [RECORD])
    for broken in (keys_file.read_bytes()[:-1], keys_file.read_bytes().replace(b"acme", b".")):
        keys_file.write_bytes(broken)
        with pytest.raises(ValidationError) as failure:
            read_keys(keys_file)
        assert RECORD.secret_sha256[:8] not in str(failure.value)
        write_keys(keys_file, [RECORD])


@pytest.mark.parametrize("content", BROKEN)
def test_a_malformed_file_is_refused(keys_file: Path, content: bytes | None) -> None:
    if content is not None:
        keys_file.write_bytes(content)
    with pytest.raises((OSError, ValueError)):
        read_keys(keys_file)
