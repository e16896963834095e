"""Keys: shown once, kept as a hash, refused when anything about them is wrong."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.errors import Unauthorized
from deployments.tenancy import KeyRing, new_key, read_keys, write_keys


@pytest.fixture
def keys_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


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
def test_a_key_with_one_character_changed_is_refused(place: int, other: str) -> None:
    key, record = new_key("acme")
    place %= len(key)
    ring = KeyRing(Path(), lambda: 0.0)
    ring._reload = lambda: None  # type: ignore[method-assign] # no file is needed here
    ring._records = {record.key_id: record}
    changed = key[:place] + other + key[place + 1 :]
    if changed == key:
        assert ring.tenant_of(changed).id == "acme"
    else:
        with pytest.raises(Unauthorized):
            ring.tenant_of(changed)


@given(st.text())
def test_any_text_is_refused_without_a_crash(text: str) -> None:
    ring = KeyRing(Path(), lambda: 0.0)
    ring._reload = lambda: None  # type: ignore[method-assign] # no file is needed here
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
