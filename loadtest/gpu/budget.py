"""Steps, each in a process of its own, within one time for all of them.

A step that would not fit is skipped, and one that takes far longer than it should, or has no time
left, is ended. Whatever happens, it is said. Knows not what a step does.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# A step ends within this after its time is over: what it started has to be stopped.
_GRACE_S = 20.0
# Of its estimate.
_FAR_LONGER = 2.5
_LOG_LINES = 20

Status = Literal["done", "failed", "cut off", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """A step, and about how long it takes."""

    name: str
    estimate_s: float


@dataclass(frozen=True, slots=True)
class Record:
    """The outcome of a step: its figures, however it ended, and the `reason` why it is not done."""

    step: str
    status: Status
    reason: str
    seconds: float
    rows: Sequence[dict[str, Any]]


class Budget:
    """The time of a run, from now on."""

    def __init__(self, budget_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_s = clock() + budget_s

    def left_s(self) -> float:
        """The time for steps that is left."""
        return self._ends_s - _GRACE_S - self._clock()

    def refusal(self, step: Step) -> str | None:
        """Return why the step does not fit; None if it does."""
        left_s = self.left_s()
        if step.estimate_s <= left_s:
            return None
        return f"takes about {step.estimate_s:.0f} s, and {max(0.0, left_s):.0f} s are left"

    def limit_s(self, step: Step) -> float:
        """Return the time after which the step is ended."""
        return min(self.left_s(), _FAR_LONGER * step.estimate_s)


def run_step(
    step: Step, command: Sequence[str], figures: Path, log: Path, budget: Budget
) -> Record:
    """Run the command of the step, which writes its `figures`, a line each; or skip it.

    What it prints is added to `log`.
    """
    if refusal := budget.refusal(step):
        return Record(step.name, "skipped", refusal, 0.0, [])
    began_s, limit_s = time.monotonic(), budget.limit_s(step)
    figures.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    status, reason = _wait(process, limit_s, log)
    lines = figures.read_text().splitlines() if figures.exists() else []
    rows = [json.loads(line) for line in lines]
    return Record(step.name, status, reason, time.monotonic() - began_s, rows)


def _wait(process: "subprocess.Popen[bytes]", limit_s: float, log: Path) -> tuple[Status, str]:
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return "cut off", f"after {limit_s:.0f} s"
    finally:
        _end(process)
    if code == 0:
        return "done", ""
    last = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    return "failed", "\n".join([f"ended with code {code}:", *last])


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the process and what it left behind in its group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S - 5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
