"""The processes beside a replica: a fork server, and its engine's copies.

    python -m deployments.engine.child DESCRIPTOR SETTINGS

The fork server imports what an engine needs, most of an engine's start-up and half of its memory,
and forks a copy for each socket that comes over the one of DESCRIPTOR. A copy loads its engine and
answers the batches that come over its socket, in order, one that it could not compute with
RowsFailed. It ends when its engine fails: nothing of a failed engine is left to a batch that comes
later. All end when the replica does, however that happens. Knows no queue.
"""

import asyncio
import contextlib
import gc
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import NoReturn

from deployments.engine.base import EngineConfig, PoolingEngine, RowsFailed
from deployments.engine.messages import connect, receive, send
from deployments.request.parent_process import end_with_parent

logger = logging.getLogger(__name__)

# What a copy says after its process's id, once it has tried to load: why it could not, if so.
Loaded = str | None

_IMPORTS = ["vllm.v1.engine.llm_engine", "vllm.v1.worker.gpu_worker", "deployments.engine.inline"]


def main(prepare: Callable[[], None], load: Callable[[EngineConfig], PoolingEngine]) -> NoReturn:
    """`prepare` imports, and starts no thread. `load` makes the engine, and may block."""
    # Ctrl-C reaches the whole foreground group; the replica decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _bury)
    end_with_parent()  # and by the closed socket, where the replica was gone before this call
    descriptor, settings = sys.argv[1:]
    config = EngineConfig.model_validate_json(settings)
    control = socket.socket(fileno=int(descriptor))
    try:
        prepare()
    except Exception:  # each copy meets it again and says so
        logger.exception("what the engines need cannot be imported")
    gc.collect()
    gc.freeze()  # or the first collection of a copy would write to all of the shared memory
    while (end := _next_end(control)) is not None:
        if os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            end_with_parent()
            asyncio.run(_serve(end, load, config))
        end.close()
    _exit(0)


def _bury(*_: object) -> None:
    """How a copy ended, for the log; the replica hears of it by the closed socket."""
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = found
            code = os.waitstatus_to_exitcode(status)
            how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
            logger.error("process %d of the engine %s", pid, how)


def _next_end(control: socket.socket) -> socket.socket | None:
    """The socket of a copy that is to be; None once the replica is gone."""
    message, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    return socket.socket(fileno=descriptors[0]) if message else None


async def _serve(
    end: socket.socket, load: Callable[[EngineConfig], PoolingEngine], config: EngineConfig
) -> NoReturn:
    reader, writer = await connect(end)
    calls: asyncio.Queue[tuple[str, object]] = asyncio.Queue()
    listening = asyncio.create_task(_listen(reader, calls))
    with contextlib.suppress(ConnectionError):  # `_listen` hears of it too
        await send(writer, os.getpid())
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
        except RowsFailed as failure:
            logger.warning("rows could not be computed", exc_info=failure)
            answer = failure
        except Exception:
            logger.exception("the engine has failed")
            _exit(1)
        await send(writer, answer)
    _exit(0)


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


def import_inline() -> None:
    """Nearly all that `load_inline` will, which is most of what it takes."""
    from deployments.engine.arguments import quiet_environment

    quiet_environment()
    for module in _IMPORTS:
        importlib.import_module(module)


def load_inline(config: EngineConfig) -> PoolingEngine:
    from deployments.engine.inline import InlineEngine, end_process_groups

    engine = InlineEngine(config)
    end_process_groups()
    return engine


if __name__ == "__main__":
    main(import_inline, load_inline)
