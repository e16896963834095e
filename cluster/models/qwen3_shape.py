"""The sizes of a Qwen3. Knows no weights."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """`weight_scale` is the standard deviation of random matrices."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    key_value_heads: int
    head_dim: int
    weight_scale: float


# As in Qwen3, heads share keys and together are wider than the hidden state. With Qwen3's own scale
# of 0.02, the logits of yes and no would differ by less than 0.1 for any input.
TINY = Shape(64, 128, 2, 4, 2, 32, 0.2)
# Of Qwen3-Embedding-0.6B and Qwen3-Reranker-0.6B.
QWEN3_0_6B = Shape(1024, 3072, 28, 16, 8, 128, 0.02)
