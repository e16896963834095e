"""Stored tokens come back as they were, in two or three bytes each."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.text.stored_tokens import DIGEST_BYTES, dump_tokens, load_tokens

_DIGEST = b"d" * DIGEST_BYTES


@given(st.lists(st.integers(0, 2**24 - 1), max_size=50))
def test_ids_come_back_as_they_were(ids: list[int]) -> None:
    stored = dump_tokens(_DIGEST, ids)
    found = load_tokens(_DIGEST, stored)
    assert found is not None
    assert found.dtype == np.int32
    assert found.tolist() == ids
    assert load_tokens(b"e" * DIGEST_BYTES, stored) is None


def test_an_id_has_two_bytes_or_three() -> None:
    assert len(dump_tokens(_DIGEST, [30_000] * 1_000)) < 2_020
    assert len(dump_tokens(_DIGEST, [150_000] * 1_000)) < 3_020


def test_what_is_no_such_form_is_ignored() -> None:
    for stored in (_DIGEST, _DIGEST + b"2abc", _DIGEST + b"3ab", _DIGEST + b"xabcd"):
        assert load_tokens(_DIGEST, stored) is None
