"""Winnow's command line, as users have it, on a cluster with a state directory of its own."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]


def winnow(state: Path, *arguments: str, quiet: bool = False) -> None:
    """Run it to its end; RuntimeError, with what it said where it is `quiet`, if it failed."""
    # Replicas may have to import what is in this project but not installed.
    environment = os.environ | {"WINNOW_STATE": str(state), "PYTHONPATH": str(_ROOT)}
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
