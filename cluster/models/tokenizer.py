"""Write tokenizer files without padding and truncation.

Published `tokenizer.json` files sometimes keep those settings of the program that wrote them:
readers would then pad each text to 512 tokens, or cut it at 128. Knows no model.
"""

import shutil
from pathlib import Path

from tokenizers import Tokenizer

_COMPANIONS = ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def write_tokenizer(package: Path, directory: Path) -> Tokenizer:
    """Copy the tokenizer of `package` into `directory`, without those settings; return it."""
    tokenizer: Tokenizer = Tokenizer.from_file(str(package / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(directory / "tokenizer.json"))
    for name in _COMPANIONS:
        if (package / name).exists():
            shutil.copyfile(package / name, directory / name)
    return tokenizer
