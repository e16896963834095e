"""A document's tokens as they are kept beside it, so that a search need not tokenise it again.

They are marked with who made them (tokenizer, template and length, as `RerankEncoder.reader`), and
are of no use to any other. Knows no tokenizer and no store.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

READER_BYTES = 8


def keep(reader: bytes, ids: Sequence[int]) -> bytes:
    """The mark of who reads them, and the ids as little-endian int32."""
    return reader + np.asarray(ids, "<i4").tobytes()


def kept_for(reader: bytes, kept: bytes | None) -> NDArray[np.int32] | None:
    """The ids, int32 [tokens]; None if they are not there or another's."""
    if kept is None or kept[:READER_BYTES] != reader:
        return None
    return np.frombuffer(kept, "<i4", offset=READER_BYTES)
