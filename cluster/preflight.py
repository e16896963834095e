"""Checks of a profile on this machine before a cluster starts.

Directories, files with secrets, addresses, the models' own files. Each mistake is a line: the
field, what is wrong with it, and what to write. Changes nothing. Knows no running cluster.
"""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from cluster.config import AppConfig
from cluster.stages import MODEL_STAGES
from deployments.config import ControlConfig, EmbedderConfig, IndexConfig, ModelConfig
from deployments.engine.model_files import positions, vector_dimensions
from deployments.tenants.api_keys import read_keys
from deployments.text.token_ids import TokenVocabulary

_CONNECT_S = 3.0
_REDIS_SCHEMES = ("redis", "rediss", "redis+sentinel", "redis+cluster")
_QDRANT_PORT = 6333

# A field of `args`, and what is wrong with it.
Fault = tuple[str, str]


def place_faults(config: AppConfig) -> list[Fault]:
    """Return what is wrong with directories, files and addresses; their paths are this machine's.

    Connects once to each database and store that is named.
    """
    router, cache = config.router, config.router.embed_cache
    return [
        *_directory("router.control.directory", router.control.directory),
        *(_directory("router.embed_cache.directory", cache.directory) if cache.max_bytes else ()),
        *_keys("router.keys_file", router.keys_file),
        *_vocabulary("router.token_id_vocabulary", router.token_id_vocabulary),
        *_control(router.control),
        *_index(config.index),
    ]


def model_faults(config: AppConfig) -> list[Fault]:
    """Return what the files of models say otherwise than the profile; those of a Hub id are left to
    its replica."""
    fields = [names.field for names in MODEL_STAGES.values()]
    return [fault for field in fields for fault in _model(field, getattr(config, field))]


def answers(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except OSError:
        return False
    return True


def _control(control: ControlConfig) -> Iterator[Fault]:
    yield from _database("router.control.database_url_file", control.database_url_file)
    field, file = "router.control.redis_url_file", control.redis_url_file
    if faults := [*_optional_file(field, file)]:
        yield from faults
    elif file is not None:
        url = _url(Path(file).read_text())
        if url is None or url.scheme not in _REDIS_SCHEMES:
            yield field, f"'{file}' holds no URL such as redis://host:6379: write one"


def _index(index: IndexConfig) -> Iterator[Fault]:
    yield from _optional_file("index.api_key_file", index.api_key_file)
    if index.engine == "lancedb" and index.directory is not None:
        yield from _directory("index.directory", index.directory)
    elif index.engine == "postgres":
        yield from _database("index.database_url_file", index.database_url_file)
    elif index.engine == "qdrant" and index.url is not None:
        url = _url(index.url)
        if url is None or url.scheme not in ("http", "https"):
            yield "index.url", "no URL such as http://qdrant:6333: write one"
        elif not answers(str(url.hostname), url.port or _QDRANT_PORT):
            yield "index.url", "nothing answers there: start the Qdrant, or name another"


def _model(stage: str, config: ModelConfig) -> Iterator[Fault]:
    directory, engine = Path(config.engine.model), config.engine
    if not directory.is_dir():
        return
    try:
        longest = positions(directory, engine.hf_overrides)
        width = vector_dimensions(directory, engine.hf_overrides)
    except (OSError, ValueError) as error:
        yield f"{stage}.engine.model", f"its files cannot be read: {error}"
        return
    if longest is not None and engine.max_model_len > longest:
        yield (
            f"{stage}.engine.max_model_len",
            f"the model reads {longest} tokens at most, not {engine.max_model_len}: write"
            f" {longest} or less",
        )
    yield from _quantization(stage, engine.quantization)
    if isinstance(config, EmbedderConfig) and width not in (None, config.dimensions):
        yield (
            f"{stage}.dimensions",
            f"the model's vectors have {width}, not {config.dimensions}: write {width}",
        )


def _quantization(stage: str, method: str | None) -> Iterator[Fault]:
    if method is None:
        return
    # vLLM takes long to import, and most profiles do not need it here.
    from deployments.engine.quantization import methods

    if method not in (known := methods()):
        yield (
            f"{stage}.engine.quantization",
            f"vLLM has no '{method}': write one of {', '.join(known)}",
        )


def _database(field: str, file: str | None) -> Iterator[Fault]:
    if faults := [*_optional_file(field, file)]:
        yield from faults
    elif file is not None:
        # SQLAlchemy takes a while to import, and most profiles need none of it.
        from deployments.tenants.store.database import connection_fault

        fault = asyncio.run(connection_fault(Path(file).read_text().strip()))
        if fault is not None:
            yield field, f"'{file}': {fault}"


def _vocabulary(field: str, file: str | None) -> Iterator[Fault]:
    if faults := [*_optional_file(field, file)]:
        yield from faults
    elif file is not None:
        try:
            TokenVocabulary.load(Path(file))
        except ValueError as error:
            yield field, f"{error}: name one"


def _keys(field: str, file: str) -> Iterator[Fault]:
    if faults := [*_optional_file(field, file)]:
        yield from faults
        return
    try:
        read_keys(Path(file))
    except ValueError:
        yield field, f"'{file}' holds no hashed keys: take the keys.json of a state directory"


def _optional_file(field: str, name: str | None) -> Iterator[Fault]:
    if name is None:
        return
    file = Path(name)
    if not file.exists():
        yield field, f"there is no file '{file}': make it, or name another"
    elif not file.is_file():
        yield field, f"'{file}' is no file: name one"
    elif not os.access(file, os.R_OK):
        yield field, f"'{file}' may not be read: give this user the right"
    elif not file.read_bytes().strip():
        yield field, f"'{file}' is empty: write into it what it is to hold"


def _directory(field: str, name: str) -> Iterator[Fault]:
    """It, or the nearest directory above it, must take files."""
    directory = Path(name).absolute()
    nearest = next(one for one in (directory, *directory.parents) if os.path.lexists(one))
    if not nearest.is_dir():
        where = "" if nearest == directory else f"cannot be made, for '{nearest}' "
        yield field, f"'{directory}' {where}is a file: name a directory"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        yield field, f"'{nearest}' may not be written to: name another, or give this user the right"


def _url(text: str) -> SplitResult | None:
    try:
        url = urlsplit(text.strip())
        return url if url.hostname and url.port != 0 else None
    except ValueError:
        return None
