"""Archives: only the files of one directory are extracted, and none outside of it."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from cluster.models.archive import extract
from cluster.models.errors import ConversionError


def _tarball(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            member.size = len(member.name) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(member.name.encode()))
    return path


def _link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def _files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_the_files_of_a_tarballs_directory_are_unpacked(tmp_path: Path) -> None:
    names = ("package/models/a.json", "package/models/deep/b.json", "package/models.json", "c.json")
    archive = _tarball(tmp_path / "a.tgz", *map(tarfile.TarInfo, names))
    extract(archive, "package/models", tmp_path / "into")
    assert _files(tmp_path / "into") == {"a.json", "deep/b.json"}
    assert (tmp_path / "into" / "a.json").read_text() == "package/models/a.json"


def test_the_files_of_a_wheels_directory_are_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        for name in ("package/models/a.json", "package/models.json"):
            wheel.writestr(name, name)
    extract(tmp_path / "a.whl", "package/models", tmp_path / "into")
    assert _files(tmp_path / "into") == {"a.json"}


@pytest.mark.parametrize("name", ["/etc/a", "../a", "package/../../a"])
def test_a_name_outside_of_the_tarball_is_refused(tmp_path: Path, name: str) -> None:
    members = [tarfile.TarInfo("package/a.json"), tarfile.TarInfo(name)]
    archive = _tarball(tmp_path / "a.tgz", *members)
    with pytest.raises(ConversionError, match="outside of itself"):
        extract(archive, "package", tmp_path / "into")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_left_out(tmp_path: Path, kind: bytes) -> None:
    link = _link("package/passwd", "/etc/passwd", kind)
    archive = _tarball(tmp_path / "a.tgz", tarfile.TarInfo("package/a.json"), link)
    extract(archive, "package", tmp_path / "into")
    assert [path.name for path in (tmp_path / "into").iterdir()] == ["a.json"]


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_text("no archive")
    with pytest.raises(ConversionError, match=r"a\.tgz cannot be unpacked"):
        extract(tmp_path / "a.tgz", "package", tmp_path / "into")
