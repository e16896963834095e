"""Keys: shown once, kept as a hash, refused when anything about them is wrong."""

import os
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deployments.errors import Unauthorized
from deployments.tenancy import KeyRing, new_key, read_keys, write_keys

KEY, RECORD = new_key("acme")


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    """One that knows KEY."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    write_keys(path, [RECORD])
    return KeyRing(path, lambda: 0.0)


def test_a_key_names_its_tenant(keys_file: Path) -> None:
    key, record = new_key("acme")
    other_key, other = new_key("globex")
    write_keys(keys_file, [record, other])
    ring = KeyRing(keys_file, lambda: 0.0)
    assert ring.tenant_of(key).id == "acme"
    assert ring.tenant_of(other_key).id == "globex"


def test_the_file_is_private_and_holds_no_secret(keys_file: Path) -> None:
    key, record = new_key("acme")
    write_keys(keys_file, [record])
    assert keys_file.stat().st_mode & 0o077 == 0
    secret = key.rsplit("_", 1)[1]
    assert secret not in keys_file.read_text()
    assert read_keys(keys_file) == [record]


def test_a_key_with_another_secret_is_refused(keys_file: Path) -> None:
    _, record = new_key("acme")
    stolen_id, _ = new_key("acme")
    write_keys(keys_file, [record])
    with pytest.raises(Unauthorized, match="not known"):
        KeyRing(keys_file, lambda: 0.0).tenant_of(stolen_id)


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


def test_a_changed_file_is_read_again(keys_file: Path) -> None:
    now = [0.0]
    key, record = new_key("acme")
    write_keys(keys_file, [record])
    ring = KeyRing(keys_file, lambda: now[0])
    assert ring.tenant_of(key).id == "acme"
    write_keys(keys_file, [])
    now[0] = 2.0
    with pytest.raises(Unauthorized):
        ring.tenant_of(key)


@pytest.mark.parametrize("tenant", ["acme", "A", "a-b_C", "0", "a" * 63])
def test_a_tenant_may_be_named(tenant: str) -> None:
    assert new_key(tenant)[1].tenant == tenant


@pytest.mark.parametrize("tenant", ["", ".ab", "a..b", "a/b", "-a", "_", "ä", "a\n", "a" * 64])
def test_a_tenant_may_not_be_named(tenant: str) -> None:
    with pytest.raises(ValidationError):
        new_key(tenant)


BROKEN = [b"", b"[{", b"5", b"[5]", b"\xff", b'[{"key_id": "x"}]', None]


@pytest.mark.parametrize("content", BROKEN)
def test_a_broken_file_leaves_the_keys_as_they_were(
    keys_file: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
) -> None:
    now = [0.0]
    write_keys(keys_file, [RECORD])
    ring = KeyRing(keys_file, lambda: now[0])
    whole = keys_file.read_bytes()
    if content is None:
        keys_file.unlink()
    else:
        keys_file.write_bytes(content)
        os.utime(keys_file, (1, 1))
    for now[0] in (2.0, 2.5, 4.0):
        assert ring.tenant_of(KEY).id == "acme"
    assert caplog.text.count("the keys stay as they were") == 2

    keys_file.write_bytes(whole.replace(b"acme", b"other"))
    now[0] = 6.0
    assert ring.tenant_of(KEY).id == "other"


def test_a_hash_is_not_logged(keys_file: Path) -> None:
    write_keys(keys_file, [RECORD])
    for broken in (keys_file.read_bytes()[:-1], keys_file.read_bytes().replace(b"acme", b".")):
        keys_file.write_bytes(broken)
        with pytest.raises(ValidationError) as failure:
            read_keys(keys_file)
        assert RECORD.secret_sha256[:8] not in str(failure.value)
        write_keys(keys_file, [RECORD])


@pytest.mark.parametrize("content", BROKEN)
def test_there_is_no_ring_without_a_whole_file(keys_file: Path, content: bytes | None) -> None:
    if content is not None:
        keys_file.write_bytes(content)
    with pytest.raises((OSError, ValueError)):
        KeyRing(keys_file, lambda: 0.0)
