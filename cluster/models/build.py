"""Build a catalog entry: download its package, extract it, convert it, write its manifest.

Knows which recipe an entry has, and no format. Recipes are imported when they run: torch and onnx
take seconds, and most commands find their models in the cache.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from cluster.models.archive import extract
from cluster.models.catalog import (
    Artefact,
    Catalog,
    Checkpoint,
    OnnxInt8Bert,
    TinyQwen3,
    WikipediaSummaries,
)
from cluster.models.fetch import fetch
from cluster.models.manifest import file_sha256, write_manifest


def build(name: str, catalog: Catalog, directory: Path, progress: Console) -> None:
    """Fill the empty `directory` with the artefact. Raises DownloadError and ConversionError.

    Downloads go to a temporary directory inside it: its disk must have room anyway.
    """
    artefact = catalog.artefacts[name]
    with TemporaryDirectory(prefix="download-", dir=directory) as temporary:
        work = Path(temporary)
        archive = fetch(artefact.source, catalog.node, work, progress)
        package = work / "package"
        extract(archive, artefact.build.directory, package)
        with progress.status(f"making {name}"):
            _convert(artefact, package, directory)
        source_sha256 = file_sha256(archive)
    # Users may share a cache, and safetensors makes files that only their owner can read.
    for weights in directory.glob("*.safetensors"):
        weights.chmod(0o644)
    write_manifest(directory, name, artefact, source_sha256)


def _convert(artefact: Artefact, package: Path, directory: Path) -> None:
    match artefact.build:
        case Checkpoint():
            from cluster.models.checkpoint import copy_checkpoint

            copy_checkpoint(package, directory)
        case OnnxInt8Bert(attention_heads=heads):
            from cluster.models.onnx_int8 import convert_onnx_int8

            convert_onnx_int8(package, directory, heads)
        case TinyQwen3(seed=seed):
            from cluster.models.random_qwen3 import make_random_qwen3

            make_random_qwen3(package, directory, seed, embedder=artefact.task == "embed")
        case WikipediaSummaries(file=file):
            from cluster.models.wikipedia import convert_summaries

            convert_summaries(package / file, directory)
