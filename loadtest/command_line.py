"""Winnow's command line in a process of its own, on a given state directory."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def winnow(state: Path, *arguments: str, quiet: bool = False) -> None:
    """Run `winnow` with these arguments. `quiet` keeps its output, for the error alone.

    Raises RuntimeError if it exits with another code than 0.
    """
    # Replicas import modules of loadtest and tests, which are not installed.
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"WINNOW_STATE": str(state), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-m", "cluster", *arguments],
        env=environment,
        cwd=_ROOT,
        capture_output=quiet,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"winnow {arguments[0]}: {done.stdout or ''}{done.stderr or ''}")
