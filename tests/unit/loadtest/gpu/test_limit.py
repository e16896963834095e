"""The arithmetic limit: parameters, attention and cards."""

import pytest

from cluster.models.qwen3_shape import QWEN3_0_6B, Shape
from loadtest.gpu.limit import card, flop, matrix_parameters


def test_parameters_are_those_of_the_real_model_without_its_embeddings() -> None:
    """Qwen3-0.6B's card says 0.44 billion."""
    assert matrix_parameters(QWEN3_0_6B) == 440_401_920


def test_a_token_takes_its_matrices_and_its_attention() -> None:
    shape = Shape(2, 3, 5, 4, 1, 2, 1.0)
    # A layer: queries and output 2 * 8 each, keys and values 2 * 2 each, three matrices of 2 * 3.
    assert matrix_parameters(shape) == 5 * 58
    assert flop(shape, [(1, 0)]) == 2 * 290 + 4 * 5 * 8
    # Three tokens look at 1 + 2 + 3.
    assert flop(shape, [(3, 0)]) == 3 * 2 * 290 + 6 * 4 * 5 * 8
    assert flop(shape, [(3, 0), (1, 0)]) == flop(shape, [(3, 0)]) + flop(shape, [(1, 0)])
    # Two of three tokens are cached: the third attends to all of them.
    assert flop(shape, [(3, 2)]) == 2 * 290 + 3 * 4 * 5 * 8


def test_attention_is_half_of_a_long_text() -> None:
    matrices = 2 * 440_401_920 * 8192
    assert flop(QWEN3_0_6B, [(8192, 0)]) / matrices == pytest.approx(2.07, abs=0.01)


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA H100 PCIe", None),
        ("NVIDIA H100 NVL", None),
        ("NVIDIA GeForce RTX 4090", None),
        (None, None),
    ],
)
def test_cards_are_known_by_their_names(device: str | None, name: str | None) -> None:
    assert card(device) == name
