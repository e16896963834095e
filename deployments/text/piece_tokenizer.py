"""The pieces of a prompt as token ids: those of the template, and those of the user."""

import os
from collections.abc import Sequence

from tokenizers import Tokenizer

# Characters read for each token of a text that will be truncated: few texts have more a token.
_MAX_CHARACTERS_PER_TOKEN = 16


def tokenize_in_calling_thread() -> None:
    """Keep batches out of the library's pool of threads, of which a process has one.

    A short text on the event loop would wait there behind another request's long ones.
    """
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


class PieceTokenizer:
    """Tokenises a template's fixed pieces with, and the user's texts without, special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def fixed(self, piece: str) -> list[int]:
        self._tokenizer.encode_special_tokens = False
        ids: list[int] = self._tokenizer.encode(piece, add_special_tokens=False).ids
        self._tokenizer.encode_special_tokens = True
        return ids

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encoded]

    def beginnings(self, texts: Sequence[str], tokens: int) -> list[list[int]]:
        """Return at least the first `tokens` of each text, without reading all of a long one."""
        characters = tokens * _MAX_CHARACTERS_PER_TOKEN
        rows = self.texts([_beginning(text, characters) for text in texts])
        for index, (text, row) in enumerate(zip(texts, rows, strict=True)):
            if len(text) > characters and len(row) < tokens:
                [rows[index]] = self.texts([text])
        return rows

    def tokens_before(self, text: str, character: int) -> int:
        """Return how many tokens of `text` begin before `character`."""
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        return sum(start < character for start, _ in offsets)


def _beginning(text: str, characters: int) -> str:
    """Cut a text at the last space within `characters`, or not at all if none is near.

    Only at a space do the tokens before the cut not depend on the text after it.
    """
    if len(text) <= characters:
        return text
    end = max(text.rfind(space, characters // 2, characters) for space in " \n")
    return text[:end].rstrip() if end >= 0 else text
