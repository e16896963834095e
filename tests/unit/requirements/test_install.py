"""requirements/install.py over tiny packages from a folder: pip and the environment are real."""

import base64
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

_SCRIPT = Path(__file__).resolve().parents[3] / "requirements" / "install.py"
# Builds what lies there, so that no build tool is needed.
_BACKEND = """
import shutil
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    shutil.copy("winnow-1.0-py3-none-any.whl", wheel_directory)
    return "winnow-1.0-py3-none-any.whl"
"""
_PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def _make_wheel(directory: Path, name: str) -> Path:
    """Write a wheel of one module without content."""
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}.py": b"",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode()},\n"
        for path, content in files.items()
    )
    wheel = directory / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return wheel


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose locks hold one package to run it and one more to test it, and no uv."""
    project = tmp_path_factory.mktemp("project")
    _make_wheel(project, "winnow")
    (project / "backend.py").write_text(_BACKEND)
    (project / "pyproject.toml").write_text(_PROJECT)
    locks = project / "requirements"
    wheels = project / "wheels"
    for directory in (locks, wheels, project / "bin"):
        directory.mkdir()
    shutil.copy(_SCRIPT, locks)
    runs, tests = (_lock(_make_wheel(wheels, name)) for name in ("runs", "tests"))
    for variant in ("cpu", "cuda"):
        (locks / f"{variant}.txt").write_text(runs)
        (locks / f"{variant}-dev.txt").write_text(runs + tests)
    (locks / "torch-cpu.txt").write_text(_lock(_make_wheel(wheels, "torch")))
    (locks / "uv.txt").write_text("uv==1.0 --hash=sha256:" + 64 * "0" + "\n")
    return project


def _lock(wheel: Path) -> str:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{wheel.name.split('-')[0]}==1.0 --hash=sha256:{digest}\n"


def _install(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    sources = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(project / "wheels")}
    path = {"PATH": f"{project / 'bin'}:/usr/bin:/bin", "PIP_CONFIG_FILE": os.devnull}
    return subprocess.run(
        [sys.executable, "requirements/install.py", "venv", *options],
        cwd=project,
        env=kept | sources | path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def _installed(project: Path) -> set[str]:
    site = next((project / "venv").glob("lib/python3.*/site-packages"))
    return {path.name.split("-")[0] for path in site.glob("*-1.0.dist-info")}


def test_what_runs_then_what_tests_need_in_a_line_a_step(project: Path) -> None:
    runs = _install(project, "cpu")
    assert runs.returncode == 0, runs.stdout
    assert _installed(project) == {"torch", "runs", "winnow"}
    lines = runs.stdout.splitlines()
    assert lines[0].endswith("install.log")
    assert [line.split()[0] for line in lines[1:]] == [f"[{step}/5]" for step in range(1, 6)]
    assert lines[2].endswith("cannot be had: pip takes longer")
    assert [line.split()[-1] for line in lines[3:]] == ["pip", "pip", "pip"]
    assert "Processing" in (project / "install.log").read_text()

    uv = project / "bin" / "uv"  # one that cannot install: pip does
    uv.write_text("#!/bin/sh\n[ $1 = --version ]\n")
    uv.chmod(0o755)
    both = _install(project, "cpu", "--dev")
    uv.unlink()
    assert both.returncode == 0, both.stdout
    assert _installed(project) == {"torch", "runs", "winnow", "tests"}
    last_words = [line.split()[-1] for line in both.stdout.splitlines()[2:]]
    assert last_words == ["uv", "pip", "pip", "pip"]


def test_another_variant_starts_anew_and_refuses_what_is_not_locked(project: Path) -> None:
    lock = project / "requirements" / "cuda.txt"
    lock.write_text("tests==1.0 --hash=sha256:" + 64 * "0" + "\n")
    refused = _install(project, "cuda")
    lines = refused.stdout.splitlines()
    assert refused.returncode == 1
    assert _installed(project) == set()
    assert lines[3].startswith("[3/4] 1 packages")
    assert lines[3].endswith("failed")
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stdout
    assert lines[-1] == "The whole log: install.log"
    assert len(lines) <= 30


def test_uv_looks_where_pip_is_told_to() -> None:
    spec = importlib.util.spec_from_file_location("install", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    install = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(install)
    configuration = """\
:env:.index-url='https://user:p=w@mirror/simple'
global.extra-index-url='file:///one file:///two'
global.find-links='\\n/wheels\\nhttps://wheels'
global.index-url='https://elsewhere/simple'
global.progress-bar='off'
"""
    assert install.uv_environment(configuration) == {
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_DEFAULT_INDEX": "https://user:p=w@mirror/simple",
        "UV_INDEX": "file:///one file:///two",
        "UV_FIND_LINKS": "/wheels,https://wheels",
    }
