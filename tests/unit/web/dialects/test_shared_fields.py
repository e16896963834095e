"""The header of texts that were cut has as many indices as there is room for."""

import pytest

from deployments.web.dialects.shared_fields import TRUNCATED_HEADER, VendorBody, answer


def _told(truncated: list[int]) -> str:
    return str(answer({}, VendorBody(), truncated).headers[TRUNCATED_HEADER])


@pytest.mark.parametrize("index", [7, 77, 777])
def test_indices_are_told_while_they_fit(index: int) -> None:
    fit = (512 + 2) // (len(str(index)) + 2)
    assert _told([index] * fit) == ", ".join([str(index)] * fit)
    assert len(_told([index] * fit)) <= 512
    cut = _told([index] * (fit + 1)).split(", ")
    assert cut.pop() == "..."
    assert cut == [str(index)] * len(cut)
    assert len(cut) >= fit - 1
