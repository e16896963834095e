"""Token ids of another model's tokenizer, as OpenAI's clients send them, back to text.

LangChain sends ids of OpenAI's cl100k_base unless told not to. Only a vocabulary is needed for the
way back: the bytes of each id. Knows nothing of the tokenizer of the model that is served.
"""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

from deployments.errors import InvalidRequest


class TokenVocabulary:
    """`pieces` are the bytes that each id stands for."""

    def __init__(self, pieces: Mapping[int, bytes]) -> None:
        self._pieces = pieces

    @classmethod
    def load(cls, file: Path) -> "TokenVocabulary":
        """Read tiktoken's format: a line a token, its bytes in base64, a space and its id. Raises
        OSError where there is no file, ValueError where it is something else."""
        lines = file.read_bytes().splitlines()
        try:
            pairs = [line.split() for line in lines if line]
            pieces = {int(id): base64.b64decode(piece, validate=True) for piece, id in pairs}
        except ValueError as error:
            raise ValueError(f"{file} is not a vocabulary in tiktoken's format") from error
        if not pieces:
            raise ValueError(f"{file} is empty: it should be a vocabulary in tiktoken's format")
        return cls(pieces)

    def text(self, ids: Sequence[int]) -> str:
        """The text of `ids`; a character that lies only half in them becomes U+FFFD. Raises
        InvalidRequest for an id that is not in the vocabulary."""
        try:
            whole = b"".join([self._pieces[id] for id in ids])
        except KeyError as unknown:
            raise InvalidRequest(
                f"token id {unknown.args[0]} is not in this service's vocabulary for token ids:"
                " send text (in langchain-openai set check_embedding_ctx_length=False)",
                param="input",
            ) from None
        return whole.decode("utf-8", "replace")
