"""Resolve a model's name to what an engine can load: a local directory, or an id of the Hub.

`resolve` builds catalog entries; `pull` also downloads Hub ids, which an engine would otherwise do
at its start. Knows no recipes.
"""

import os
import re
from pathlib import Path

from platformdirs import user_cache_path
from rich.console import Console

from cluster.models.build import build
from cluster.models.cache import made_once
from cluster.models.catalog import Catalog, load_catalog
from cluster.models.errors import DownloadError, UnknownModelError
from cluster.models.manifest import is_current

_CACHE_VARIABLE = "WINNOW_CACHE"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def default_cache() -> Path:
    """Return the models' directory: `models` in WINNOW_CACHE, or in the user's cache directory."""
    configured = os.environ.get(_CACHE_VARIABLE)
    root = Path(configured).absolute() if configured else user_cache_path("winnow")
    return root / "models"


def resolve(name: str, cache: Path, progress: Console) -> str:
    """Return the directory of a catalog entry in `cache`, built if it is missing.

    A directory and a Hub id, `org/name`, are returned as they are. Raises UnknownModelError for
    another name, and DownloadError, HashMismatchError or ConversionError if building fails, which
    leaves nothing behind.
    """
    catalog = load_catalog()
    if name in catalog.artefacts:
        return str(_made(name, catalog, cache, progress))
    if _HUB_ID.fullmatch(name) or (name and Path(name).is_dir()):
        return name
    raise UnknownModelError(
        f"'{name}' is no directory, no Hub id such as org/name, and none of the known models:"
        f" {', '.join(catalog.artefacts)}"
    )


def pull(name: str, cache: Path, progress: Console, revision: str | None = None) -> str:
    """Return the model's directory; a Hub id is downloaded to the Hub's own cache.

    `revision` is for Hub ids alone. Raises what `resolve` does.
    """
    resolved = resolve(name, cache, progress)
    return resolved if Path(resolved).is_dir() else _snapshot(resolved, revision)


def _made(name: str, catalog: Catalog, cache: Path, progress: Console) -> Path:
    target = cache / name
    artefact = catalog.artefacts[name]
    made_once(
        target,
        lambda directory: is_current(directory, artefact),
        lambda directory: build(name, catalog, directory, progress),
        progress,
    )
    return target


def _snapshot(model: str, revision: str | None) -> str:
    # Slow to import, and needed for Hub ids alone.
    from deployments.engine.weights import locate

    try:
        return str(locate(model, revision, weights=True))
    except (OSError, ValueError) as error:
        raise DownloadError(f"could not fetch {model} from the Hub: {error}") from error
