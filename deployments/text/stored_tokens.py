"""The stored form of a document's rerank tokens, so that a search need not tokenise it again.

The token ids follow a digest of what they depend on (tokenizer, template and maximum length), and
are ignored if that has changed. They have two bytes each, or three where an id needs them, as for a
vocabulary of more than 65,536. Knows no tokenizer and no store.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 8
# Part of the digest, so that what was stored in another form is ignored.
FORMAT = "two or three bytes"
_NARROW = b"2"
_WIDE = b"3"
_LARGEST_NARROW = 0xFFFF
_START = DIGEST_BYTES + 1


def dump_tokens(digest: bytes, ids: Sequence[int]) -> bytes:
    """Return the digest, DIGEST_BYTES long, the width of an id and the ids, little-endian: the low
    two bytes of all and, if they are wide, the third byte of all."""
    wide = np.asarray(ids, "<u4")
    low = wide.astype("<u2").tobytes()  # keeps the lower half
    if not len(wide) or wide.max() <= _LARGEST_NARROW:
        return digest + _NARROW + low
    return digest + _WIDE + low + (wide >> 16).astype("u1").tobytes()


def load_tokens(digest: bytes, stored: bytes | None) -> NDArray[np.int32] | None:
    """Return the ids, int32 [tokens]; None if there are none or their digest is another."""
    if stored is None or stored[:DIGEST_BYTES] != digest:
        return None
    width, packed = stored[DIGEST_BYTES:_START], stored[_START:]
    if width not in (_NARROW, _WIDE) or len(packed) % int(width):
        return None
    count = len(packed) // int(width)
    ids = np.frombuffer(packed, "<u2", count).astype(np.int32)
    if width == _WIDE:
        ids |= np.frombuffer(packed, "u1", offset=2 * count).astype(np.int32) << 16
    return ids
