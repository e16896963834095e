"""Downloads by real pip and npm of packages made here: only the pinned file is accepted."""

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from rich.console import Console

from cluster.models.catalog import Source, load_catalog
from cluster.models.errors import DownloadError, HashMismatchError
from cluster.models.fetch import fetch

_WRONG = "0" * 64


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in the only directory that pip searches."""
    path = tmp_path / "wheels" / "winnow_test-1.0-py3-none-any.whl"
    path.parent.mkdir()
    metadata = {
        "METADATA": "Metadata-Version: 2.1\nName: winnow-test\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in metadata.items():
            archive.writestr(f"winnow_test-1.0.dist-info/{name}", text)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


@pytest.fixture
def tarball(monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    """A package in the only registry that npm knows."""
    content = _tarball()
    registry = ThreadingHTTPServer(("127.0.0.1", 0), _registry(content))
    threading.Thread(target=registry.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{registry.server_port}/")
    for variable in ("http_proxy", "HTTP_PROXY", "npm_config_proxy"):
        monkeypatch.delenv(variable, raising=False)
    yield content
    registry.shutdown()
    registry.server_close()


def test_a_pinned_wheel_is_fetched(wheel: Path, work: Path, quiet: Console) -> None:
    fetched = _fetch(_source("wheel", _sha256(wheel.read_bytes())), work, quiet)
    assert fetched.read_bytes() == wheel.read_bytes()


def test_a_terminal_shows_what_is_downloaded(wheel: Path, work: Path) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=80)
    with terminal.capture() as shown:
        _fetch(_source("wheel", _sha256(wheel.read_bytes())), work, terminal)
    assert "winnow-test 1.0" in shown.get()


def test_another_wheel_than_the_pinned_one_is_refused(
    wheel: Path, work: Path, quiet: Console
) -> None:
    with pytest.raises(
        DownloadError, match="DO NOT MATCH THE HASHES|Got +" + _sha256(wheel.read_bytes())
    ):
        _fetch(_source("wheel", _WRONG), work, quiet)


@pytest.mark.usefixtures("wheel")
def test_a_missing_version_is_an_error_with_pips_words(work: Path, quiet: Console) -> None:
    source = _source("wheel", _WRONG).model_copy(update={"version": "2.0"})
    with pytest.raises(DownloadError, match=r"winnow-test 2\.0(.|\n)*No matching distribution"):
        _fetch(source, work, quiet)


def test_a_pinned_tarball_is_fetched(tarball: bytes, work: Path, quiet: Console) -> None:
    assert _fetch(_source("npm", _sha256(tarball)), work, quiet).read_bytes() == tarball


@pytest.mark.usefixtures("tarball")
def test_another_tarball_than_the_pinned_one_is_refused(work: Path, quiet: Console) -> None:
    with pytest.raises(HashMismatchError, match=_WRONG):
        _fetch(_source("npm", _WRONG), work, quiet)


@pytest.mark.usefixtures("tarball")
def test_an_unknown_package_is_an_error_with_npms_words(work: Path, quiet: Console) -> None:
    source = _source("npm", _WRONG).model_copy(update={"package": "absent"})
    with pytest.raises(DownloadError, match=r"absent 1\.0\.0(.|\n)*404"):
        _fetch(source, work, quiet)


def _fetch(source: Source, work: Path, progress: Console) -> Path:
    return fetch(source, load_catalog().node, work, progress)


def _source(kind: str, sha256: str) -> Source:
    version = "1.0" if kind == "wheel" else "1.0.0"
    return Source.model_validate(
        {
            "kind": kind,
            "package": "winnow-test",
            "version": version,
            "size_bytes": 1,
            "sha256": [sha256],
        }
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tarball() -> bytes:
    manifest = json.dumps({"name": "winnow-test", "version": "1.0.0"}).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/package.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    return buffer.getvalue()


def _registry(tarball: bytes) -> type[BaseHTTPRequestHandler]:
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(tarball).digest()).decode()

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/winnow-test":
                self._answer(200, "application/json", self._packument())
            elif self.path == "/winnow-test.tgz":
                self._answer(200, "application/octet-stream", tarball)
            else:
                self._answer(404, "application/json", b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

        def _packument(self) -> bytes:
            url = f"http://{self.headers['Host']}/winnow-test.tgz"
            version = {
                "name": "winnow-test",
                "version": "1.0.0",
                "dist": {"tarball": url, "integrity": integrity},
            }
            return json.dumps({"name": "winnow-test", "versions": {"1.0.0": version}}).encode()

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Registry
