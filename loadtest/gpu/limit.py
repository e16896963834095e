"""The arithmetic limit: the FLOP that a Qwen3 of a shape has to do, and a card's FLOP/s.

A token takes 2 FLOP a parameter of the matrices, and in attention 4 FLOP a layer, a unit of the
heads' width and a token that it looks at. Embeddings are looked up, and norms are left out.
"""

from collections.abc import Iterable

from cluster.capacity import GPUS
from cluster.models.qwen3_shape import Shape

# Cards that have another's name and less of its speed.
_SLOWER = {"PCIe", "NVL", "GH200"}


def matrix_parameters(shape: Shape) -> int:
    """Parameters of the matrices of all layers."""
    queries = shape.heads * shape.head_dim
    keys = shape.key_value_heads * shape.head_dim
    attention = shape.hidden * (2 * queries + 2 * keys)
    return shape.layers * (attention + 3 * shape.hidden * shape.intermediate)


def flop(shape: Shape, rows: Iterable[tuple[int, int]]) -> float:
    """FLOP of rows, each a length and the tokens at its start that a cache had.

    A token looks at itself and all before it.
    """
    tokens = looked_at = 0
    for length, cached in rows:
        tokens += length - cached
        looked_at += (length * (length + 1) - cached * (cached + 1)) // 2
    width = shape.heads * shape.head_dim
    return 2.0 * matrix_parameters(shape) * tokens + 4.0 * shape.layers * width * looked_at


def card(device: str | None) -> str | None:
    """Return the name in `GPUS` of a device such as "NVIDIA H100 80GB HBM3"; None if unknown."""
    words = set((device or "").replace("-", " ").split())
    if words & _SLOWER:
        return None
    return next((name for name in GPUS if name in words), None)
