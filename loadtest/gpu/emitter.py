"""The figures of a step, written as soon as they are there: one that is cut off leaves what it had.

Knows no step.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

Figures = dict[str, Any]
Part = Callable[[], Awaitable[Figures]]


class Emitter:
    """Appends to the file at `path`, a line a part."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()
        self.failed = False

    def emit(self, name: str, figures: Figures) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps({"name": name} | figures) + "\n")

    async def attempt(self, name: str, part: Part) -> None:
        """Emit the figures of one part, or its error; what is not `correct` is one, too."""
        try:
            figures = await part()
            self.failed |= not figures.get("correct", True)
            self.emit(name, figures)
        except Exception as error:  # of vLLM, transformers, CUDA, whatever it is
            logger.exception("%s", name)
            self.failed = True
            self.emit(name, {"error": f"{type(error).__name__}: {error}"})
