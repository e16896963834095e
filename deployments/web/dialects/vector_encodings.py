"""Vectors in the types that vendors' clients ask for, as orjson writes them."""

import base64
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Encoding = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]


def _int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """A unit vector's components lie in [-1, 1]; 127 steps each way."""
    return np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)


def _ubinary(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One sign bit a component, eight to a byte, the first in the highest bit."""
    return np.packbits(vectors > 0, axis=1)


def _base64(vectors: NDArray[np.float32]) -> list[str]:
    """Little-endian float32."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    return [base64.b64encode(row).decode() for row in rows]


# Each takes float32 [rows, dimensions] and gives one item a row.
ENCODERS: dict[Encoding, Callable[[NDArray[np.float32]], Any]] = {
    "float": np.ascontiguousarray,
    "int8": _int8,
    "uint8": lambda vectors: (_int8(vectors).astype(np.int16) + 128).astype(np.uint8),
    "ubinary": _ubinary,
    "binary": lambda vectors: (_ubinary(vectors).astype(np.int16) - 128).astype(np.int8),
    "base64": _base64,
}
