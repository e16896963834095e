"""Where a model's files are on this node, and which model they are.

The only module that speaks to the Hugging Face Hub. Knows neither engine nor tokenizer.
"""

import hashlib
from pathlib import Path

from huggingface_hub import snapshot_download

_SAMPLES = 64
_SAMPLE_BYTES = 65_536
_CONFIGURATION = ["*.json", "*.txt", "*.model", "*.jinja", "1_Pooling/*"]


def locate(model: str, revision: str | None, weights: bool) -> Path:
    """The directory of `model`: itself if it is one, else its snapshot from the Hub.

    Without `weights` only the configuration and the tokenizer are fetched.
    """
    if Path(model).is_dir():
        return Path(model)
    patterns = [*_CONFIGURATION, "*.safetensors"] if weights else _CONFIGURATION
    return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))


def weights_digest(directory: Path) -> str:
    """A SHA-256 over the tokenizer, and the size and evenly spread samples of every weights file.

    Samples, because 16 GB must not be read whole at every start; training changes all of a
    model's weights, so it changes the samples. FileNotFoundError if there are no weights.
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
