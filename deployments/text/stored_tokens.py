"""The stored form of a document's rerank tokens, so that a search need not tokenise it again.

The token ids follow a digest of what they depend on (tokenizer, template and maximum length), and
are ignored if that has changed. Knows no tokenizer and no store.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 8


def dump_tokens(digest: bytes, ids: Sequence[int]) -> bytes:
    """Return the digest, DIGEST_BYTES long, and the ids as little-endian int32."""
    return digest + np.asarray(ids, "<i4").tobytes()


def load_tokens(digest: bytes, stored: bytes | None) -> NDArray[np.int32] | None:
    """Return the ids, int32 [tokens]; None if there are none or their digest is another."""
    if stored is None or stored[:DIGEST_BYTES] != digest:
        return None
    return np.frombuffer(stored, "<i4", offset=DIGEST_BYTES)
