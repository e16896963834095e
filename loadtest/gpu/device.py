"""The GPU as nvidia-smi sees it: no process has to touch CUDA for it."""

import shutil
import subprocess
from dataclasses import dataclass

_QUERY = ["--query-gpu=name,memory.used", "--format=csv,noheader,nounits"]


@dataclass(frozen=True, slots=True)
class Gpu:
    """The machine's first GPU: its name, and the memory that all processes use of it."""

    name: str
    used_bytes: int


def taken_gib(before: Gpu | None) -> dict[str, float]:
    """Return the memory that was taken since `before`, as the figure `gpu_gib`; none without a
    GPU."""
    after = gpu()
    if before is None or after is None:
        return {}
    return {"gpu_gib": (after.used_bytes - before.used_bytes) / 2**30}


def gpu() -> Gpu | None:
    """Return the GPU; None if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    done = subprocess.run([program, *_QUERY], capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    name, used_mib = done.stdout.splitlines()[0].rsplit(",", 1)
    return Gpu(name.strip(), int(used_mib) * 2**20)
