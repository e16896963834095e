"""Facts in a model's own files: the width of its vectors, the longest text that it reads.

Reads files alone: a configuration is compared with them before a model is loaded.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def vector_dimensions(directory: Path, overrides: Mapping[str, Any] | None = None) -> int | None:
    """Return the width of an embedder's vectors; None if the files do not say.

    `overrides` are changes to the model's configuration.
    """
    for module in reversed(_read(directory / "modules.json", [])):
        if str(module.get("type", "")).endswith(".Dense"):
            dense = _read(directory / module["path"] / "config.json", {})
            return _positive(dense.get("out_features"))
    return _positive(_config(directory, overrides).get("hidden_size"))


def positions(directory: Path, overrides: Mapping[str, Any] | None = None) -> int | None:
    """Return the tokens that the model has positions for; None if the files do not say, or if they
    scale positions."""
    config = _config(directory, overrides)
    for name in ("rope_scaling", "rope_parameters"):
        rope = config.get(name) or {}
        if rope.get("rope_type", rope.get("type", "default")) != "default":
            return None
    return _positive(config.get("max_position_embeddings"))


def _config(directory: Path, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    config: dict[str, Any] = _read(directory / "config.json", {})
    return config | dict(overrides or {})


def _read(file: Path, missing: Any) -> Any:
    """Raises OSError, or ValueError for a file that is not JSON."""
    return json.loads(file.read_text()) if file.is_file() else missing


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
