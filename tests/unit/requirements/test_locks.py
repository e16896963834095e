"""Every package is pinned, with hashes: a registry cannot slip in another file."""

import re
from pathlib import Path

import pytest

_DIRECTORY = Path(__file__).resolve().parents[3] / "requirements"
_PINNED = re.compile(
    r"^[A-Za-z0-9][A-Za-z0-9._-]*(\[[\w,-]+\])? ?(==\S+|@ https://\S+)( ?;[^\\]+)?\s*\\$"
)
_HASH = re.compile(r"^ +--hash=sha256:[0-9a-f]{64}( \\)?$")
_LOCKS = sorted(_DIRECTORY.glob("*.txt"))
_NO_LOCKS = {"overrides-cpu.txt"}  # read by uv while it resolves


@pytest.mark.parametrize(
    "lock", [one for one in _LOCKS if one.name not in _NO_LOCKS], ids=lambda one: one.name
)
def test_every_package_is_pinned_and_has_hashes(lock: Path) -> None:
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    lines = [line for line in lines if line.strip()]
    packages = [number for number, line in enumerate(lines) if not line.startswith((" ", "--"))]
    assert packages
    for number in packages:
        assert _PINNED.match(lines[number]), lines[number]
        assert _HASH.match(lines[number + 1]), lines[number]
    others = [line for number, line in enumerate(lines) if number not in packages]
    for line in others:
        assert _HASH.match(line), line


def test_there_are_locks_for_both_builds() -> None:
    names = {lock.stem for lock in _LOCKS}
    assert names >= {"cpu", "cpu-dev", "cuda", "cuda-dev", "torch-cpu", "uv"}


def test_what_installs_asks_for_the_hashes() -> None:
    """With this option pip and uv refuse a package without a hash, or with another one."""
    source = (_DIRECTORY / "install.py").read_text()
    assert source.count('"--require-hashes"') >= 1
