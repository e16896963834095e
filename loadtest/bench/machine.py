"""The machine under test: its processor, and the number type it computes fastest in."""

import os
from pathlib import Path
from typing import Literal


def _cpuinfo(field: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return "unknown"


def processor() -> str:
    return f"{_cpuinfo('model name')}, {os.cpu_count()} cores"


def dtype() -> Literal["bfloat16", "float32"]:
    """Return bfloat16 if the processor has instructions for it, else float32.

    The faster one for every server here.
    """
    flags = _cpuinfo("flags").split()
    return "bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"
