"""Extract one directory of a wheel or an npm tarball. Runs and imports nothing of it."""

import shutil
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from cluster.models.errors import ConversionError


def extract(archive: Path, directory: str, into: Path) -> None:
    """Extract the files below `directory` into `into`; links are left out.

    Raises ConversionError if there are none, if the file is neither kind of archive, or if a name
    in a tarball points out of it.
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
    # Without tarfile's filters, which Python 3.11.2 of Debian 12 does not have.
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
