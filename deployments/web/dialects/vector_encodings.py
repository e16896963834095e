"""Vectors in the types that vendors' clients ask for, as orjson writes them."""

import base64
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Number = Literal["float", "int8", "uint8", "binary", "ubinary"]
Encoding = Literal[Number, "base64"]


def _int8(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """A unit vector's components lie in [-1, 1]; 127 steps each way."""
    return np.clip(np.rint(vectors * 127), -127, 127).astype(np.int8)


def _ubinary(vectors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """One sign bit a component, eight to a byte, the first in the highest bit."""
    return np.packbits(vectors > 0, axis=1)


_NUMBERS: dict[Number, Callable[[NDArray[np.float32]], NDArray[Any]]] = {
    "float": lambda vectors: np.ascontiguousarray(vectors, dtype="<f4"),
    "int8": _int8,
    "uint8": lambda vectors: (_int8(vectors).astype(np.int16) + 128).astype(np.uint8),
    "ubinary": _ubinary,
    "binary": lambda vectors: (_ubinary(vectors).astype(np.int16) - 128).astype(np.int8),
}


def encode(
    vectors: NDArray[np.float32], number: Number = "float", *, as_base64: bool = False
) -> Any:
    """Float32 [rows, dimensions] to one item a row: its numbers, or base64 of their bytes, floats
    as little-endian float32."""
    rows = _NUMBERS[number](vectors)
    return [base64.b64encode(row).decode() for row in rows] if as_base64 else rows


def encode_as(vectors: NDArray[np.float32], encoding: Encoding) -> Any:
    """`encode` by Cohere's and Jina's names, where "base64" is base64 of floats."""
    if encoding == "base64":
        return encode(vectors, as_base64=True)
    return encode(vectors, encoding)
