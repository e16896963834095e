"""The models of the catalog, from the cache that the command line fills too."""

import sys
from pathlib import Path

from rich.console import Console

from cluster.models.pull import default_cache, resolve


def model_directory(name: str) -> Path:
    """Fetched or made on first use, which takes a while and says so on stderr."""
    return Path(resolve(name, default_cache(), Console(file=sys.stderr)))
