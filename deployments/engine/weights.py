"""Model files: found or downloaded on this node, and identified by a digest.

The only module that uses the Hugging Face Hub. Knows neither engine nor tokenizer.
"""

import hashlib
import logging
from pathlib import Path

from huggingface_hub import snapshot_download

logger = logging.getLogger(__name__)

_SAMPLES = 64
_SAMPLE_BYTES = 65_536
_CONFIGURATION = ["*.json", "*.txt", "*.model", "*.jinja", "1_Pooling/*"]


def locate(model: str, revision: str | None, weights: bool) -> Path:
    """Return the directory of `model`: a directory itself, or a Hub id, downloaded if need be.

    Without `weights`, only the configuration and the tokenizer are downloaded.
    """
    if Path(model).is_dir():
        return Path(model)
    if revision is None:
        logger.warning(
            "%s is not pinned: what its authors push next may be loaded by some replicas and not by"
            " others, and no stored vector fits it; set engine.revision to a commit",
            model,
        )
    patterns = [*_CONFIGURATION, "*.safetensors"] if weights else _CONFIGURATION
    return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))


def tokenizer_digest(directory: Path) -> str:
    """Return a SHA-256 of the tokenizer; empty where there is none but in an older format."""
    file = directory / "tokenizer.json"
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def weights_digest(directory: Path) -> str:
    """Return a SHA-256 of the tokenizer and of sizes and samples of all weights files.

    Evenly spread samples are enough, because training changes all weights; reading 16 GB at every
    start is not affordable. Raises FileNotFoundError if there are no weights.
    """
    weights = sorted(directory.glob("*.safetensors"))
    if not weights:
        raise FileNotFoundError(f"no *.safetensors in {directory}")
    digest = hashlib.sha256((directory / "tokenizer.json").read_bytes())
    for path in weights:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size};".encode())
        with path.open("rb") as file:
            for step in range(_SAMPLES):
                file.seek(max(0, size - _SAMPLE_BYTES) * step // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
