"""One step of the benchmark, in a process of its own: `python -m loadtest.gpu.step NAME SETTINGS`.

Ends with code 1 if a part of it failed; the others are measured all the same.
"""

import asyncio
import logging
import signal
import sys
from typing import NoReturn

from loadtest.gpu.emitter import Emitter
from loadtest.gpu.settings import Settings


def main() -> None:
    name, encoded = sys.argv[1:]
    settings = Settings.model_validate_json(encoded)
    emitter = Emitter(settings.figures(name))
    # What runs beside the step is stopped when its time is over, too.
    signal.signal(signal.SIGTERM, _end)
    asyncio.run(_run(name, settings, emitter))
    sys.exit(emitter.failed)


async def _run(name: str, settings: Settings, emitter: Emitter) -> None:
    # Imported by the step that needs them: the first one shows what cannot be imported.
    if name == "imports":
        from loadtest.gpu.imports import import_all, versions

        for module, error in import_all().items():
            emitter.failed = True
            emitter.emit(module, {"error": error})
        emitter.emit("versions", versions())
    elif name == "models":
        from loadtest.gpu.models import make_models

        make_models(settings)
    elif name == "service":
        from loadtest.gpu.service import measure_service

        await measure_service(settings, emitter)
    else:
        from loadtest.gpu import engines

        await getattr(engines, name)(settings, emitter)


def _end(*_: object) -> NoReturn:
    sys.exit("its time is over")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    main()
