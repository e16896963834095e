"""Loading vLLM leaves the process's logging unchanged: Serve's controller relies on it."""

import subprocess
import sys

_LOAD = """
import logging
from logging.handlers import MemoryHandler

written = logging.NullHandler()
buffer = MemoryHandler(1_000, target=written)
from deployments.engine.arguments import quiet_environment

quiet_environment()
from vllm.config.logging import LoggingConfig
from vllm.logger import configure_logging_if_needed

configure_logging_if_needed(LoggingConfig())  # as each engine does when it is made

assert buffer.target is written
"""


def test_a_buffered_log_survives_an_engine() -> None:
    subprocess.run([sys.executable, "-c", _LOAD], check=True, timeout=120)
