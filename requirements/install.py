"""Set up the virtual environment: `python requirements/install.py .venv cpu --dev`.

Prints one line a step; what pip and uv print goes to install.log, whose end is shown when a step
fails. uv installs where it is on PATH or can be had, and pip where it cannot or where uv fails: the
hashes in the locks let in the same packages either way. Needs the standard library alone, and knows
nothing of Winnow but where its locks lie.
"""

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TextIO

LOCKS = Path(__file__).resolve().parent
PROJECT = LOCKS.parent
LOG = Path("install.log")
LINES_OF_ERROR = 20
# PyPI does not have the CPU build of torch: this index does, where pip is told of no other place.
TORCH_INDEX = "https://download.pytorch.org/whl/cpu"
# uv does not read pip's configuration. This much of it says where packages are.
UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "find-links": "UV_FIND_LINKS",
    "no-index": "UV_NO_INDEX",
    "cert": "SSL_CERT_FILE",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "timeout": "UV_HTTP_TIMEOUT",
}

Command = Sequence[str]


class StepError(Exception):
    """A step none of whose commands succeeded."""


class Steps:
    """Runs commands in steps: a line a step on standard output, what they print in `log`."""

    def __init__(self, total: int, log: TextIO) -> None:
        self.environment: Mapping[str, str] = {}
        self._total = total
        self._number = 0
        self._log = log

    def run(self, what: str, *commands: Command) -> None:
        """Try `commands` in turn until one succeeds; raise StepError if none does."""
        if not self.attempt(what, "failed", *commands):
            raise StepError(what)

    def attempt(self, what: str, otherwise: str, *commands: Command) -> bool:
        """Try `commands` in turn; if none succeeds the line ends with `otherwise`."""
        self._number += 1
        line = f"[{self._number}/{self._total}] {what:<24}"
        began = time.monotonic()
        show(line)
        done = next((c for c in commands if self._succeeds(c, line, began)), None)
        show(f"{_anew(line)}{_seconds(began)}  {Path(done[0]).name if done else otherwise}\n")
        return done is not None

    def _succeeds(self, command: Command, line: str, began: float) -> bool:
        self._log.write(f"\n$ {' '.join(command)}\n")
        self._log.flush()
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**self.environment, **os.environ},
        ) as process:
            while True:
                try:
                    return process.wait(timeout=1) == 0
                except subprocess.TimeoutExpired:
                    if sys.stdout.isatty():
                        show(f"{_anew(line)}{_seconds(began)}")


def show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _anew(line: str) -> str:
    """On a terminal a line is written over, elsewhere it goes on."""
    return f"\r{line}" if sys.stdout.isatty() else ""


def _seconds(began: float) -> str:
    return f"{time.monotonic() - began:5.0f} s"


def make_environment(steps: Steps, venv: Path, variant: str) -> None:
    """Make `venv`, unless one of this variant and this version of Python is there."""
    version = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    marker = venv / ".made-for"
    made_for = f"{variant} on {version}\n"
    if (venv / "bin" / "pip").exists() and marker.exists() and marker.read_text() == made_for:
        steps.run(f"{venv}: {version}", [f"{venv}/bin/python", "--version"])
        return
    steps.run(f"{venv}: {version}", [sys.executable, "-m", "venv", "--clear", str(venv)])
    marker.write_text(made_for)


def uv_environment(pip_configuration: str) -> dict[str, str]:
    """Turn what `pip config list` says of where packages are into uv's variables."""
    found = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # the indexes are one, as they are to pip
    lines = pip_configuration.splitlines()
    for line in sorted(lines, key=lambda line: line.startswith(":env:")):  # the environment wins
        key, _, value = line.partition("=")
        name = UV_NAMES.get(key.rpartition(".")[2])
        if name is not None:
            separator = "," if name == "UV_FIND_LINKS" else " "
            found[name] = separator.join(str(ast.literal_eval(value)).split())
    return found


def get_uv(steps: Steps, venv: Path, pip: Command) -> list[Command]:
    """The command of the uv on PATH, or of one that is put into `venv`; none if that fails."""
    uv = shutil.which("uv")
    if uv is not None:
        command: Command = [uv, "--version"]
    else:
        place = f"{venv}/.uv"  # beside the environment's own packages, not among them
        uv = f"{place}/bin/uv"
        command = [*pip, "--upgrade", "--target", place, *_locked("uv")]
    if not steps.attempt("uv", "cannot be had: pip takes longer", command):
        return []
    # Compiled, as pip does: else every process of a cluster would compile what it imports.
    options = ["--no-deps", "--compile-bytecode", "--python", f"{venv}/bin/python"]
    return [[uv, "pip", "install", *options]]


def _locked(lock: str) -> list[str]:
    return ["--require-hashes", "--requirement", str(LOCKS / f"{lock}.txt")]


def set_up(steps: Steps, venv: Path, variant: str, lock: str) -> None:
    make_environment(steps, venv, variant)
    pip = [f"{venv}/bin/pip", "install", "--no-deps", "--disable-pip-version-check"]
    configuration = subprocess.run(
        [pip[0], "config", "list"], stdout=subprocess.PIPE, text=True, check=True
    )
    steps.environment = uv_environment(configuration.stdout)
    installers: list[Command] = [*get_uv(steps, venv, pip), pip]
    if variant == "cpu":
        places: list[list[str]] = [[], ["--index-url", TORCH_INDEX]]
        torch = _locked("torch-cpu")
        steps.run("torch", *([*i, *torch, *place] for i in installers for place in places))
    pins = re.findall(r"^[\w.-]+==", (LOCKS / f"{lock}.txt").read_text(), re.MULTILINE)
    steps.run(f"{len(pins)} packages", *([*i, *_locked(lock)] for i in installers))
    winnow = ["--no-build-isolation", "--editable", str(PROJECT)]
    steps.run("winnow", *([*i, *winnow] for i in installers))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("venv", type=Path)
    parser.add_argument("variant", choices=["cpu", "cuda"])
    parser.add_argument("--dev", action="store_true", help="with what tests and checks need")
    given = parser.parse_args()
    lock = f"{given.variant}-dev" if given.dev else given.variant
    show(f"Setting up {given.venv} from requirements/{lock}.txt; the log is {LOG}\n")
    try:
        with LOG.open("w", encoding="utf-8") as log:
            set_up(Steps(5 if given.variant == "cpu" else 4, log), given.venv, given.variant, lock)
    except StepError:
        end = LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES_OF_ERROR:]
        show("\n".join([*end, f"The whole log: {LOG}\n"]))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
