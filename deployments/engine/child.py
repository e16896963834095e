"""The process of one copy of an engine: answers the batches that come over a socket, in order.

    python -m deployments.engine.child DESCRIPTOR SETTINGS

It ends when its replica does, however that happens, and when its engine fails: nothing of a failed
engine is left to a batch that comes later. Knows no queue and no other copy.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from deployments.engine.base import EngineConfig, PoolingEngine
from deployments.engine.messages import connect, receive, send

logger = logging.getLogger(__name__)

# What it says first: None when it is ready, else why it is not.
Greeting = str | None

_PR_SET_PDEATHSIG = 1

Load = Callable[[EngineConfig], PoolingEngine]


def main(load: Load) -> None:
    """`load` makes the engine and may block."""
    # Ctrl-C reaches the whole foreground group; the replica decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _end_with_parent()
    descriptor, settings = sys.argv[1:]
    end = socket.socket(fileno=int(descriptor))
    end.set_inheritable(False)  # or an engine's own processes would hold it open
    asyncio.run(_serve(end, load, EngineConfig.model_validate_json(settings)))


def _end_with_parent() -> None:
    """At once and whatever it computes, where the system has a signal for it. The closed socket
    ends it everywhere, and where the parent was gone before this call."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _serve(end: socket.socket, load: Load, config: EngineConfig) -> None:
    reader, writer = await connect(end)
    calls: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
    listening = asyncio.create_task(_listen(reader, calls))
    try:
        engine = await asyncio.to_thread(load, config)
    except Exception as failure:
        logger.exception("the engine did not start")
        with contextlib.suppress(ConnectionError):
            await send(writer, f"{type(failure).__name__}: {failure}")
        _exit(1)
    await send(writer, None)
    while not listening.done():
        method, rows = await calls.get()
        try:
            answer = await getattr(engine, method)(rows)
        except Exception:
            logger.exception("the engine has failed")
            _exit(1)
        await send(writer, answer)


async def _listen(
    reader: asyncio.StreamReader, calls: "asyncio.Queue[tuple[str, object]]"
) -> NoReturn:
    """Hears of the replica's end while a batch is computed, too."""
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            calls.put_nowait(await receive(reader))
    _exit(0)


def _exit(code: int) -> NoReturn:
    """Without waiting for the thread that computes."""
    logging.shutdown()
    os._exit(code)


def load_inline(config: EngineConfig) -> PoolingEngine:
    from deployments.engine.inline import InlineEngine

    return InlineEngine(config)


if __name__ == "__main__":
    main(load_inline)
