"""Texts that were cut are named: each that does not fit, and none that just fits."""

from typing import Literal

import pytest

from deployments.text.prompts import Cut
from tests.unit.text.encoders import embed_encoder, rerank_encoder

_PROFILES = ("local", "tiny-qwen3")
_WORD = "word "


@pytest.mark.parametrize("profile", _PROFILES)
@pytest.mark.parametrize("keep", ["start", "end"])
def test_texts_that_do_not_fit_are_named_and_those_that_just_fit_are_not(
    profile: str, keep: Literal["start", "end"]
) -> None:
    encoder = embed_encoder(profile, 64)
    room = 64 - len(encoder.documents([_WORD.strip()], None).rows.ids) + 1
    texts = [(_WORD * words).strip() for words in (1, room, room + 1, 100 * room)]
    encoded = encoder.documents(texts, Cut(keep=keep))
    assert encoded.rows.lengths.tolist()[1:] == [64, 64, 64]
    assert encoded.truncated == (2, 3)
    assert encoder.documents(texts[:2], None).truncated == ()


@pytest.mark.parametrize("profile", _PROFILES)
def test_a_query_that_does_not_fit_is_named(profile: str) -> None:
    encoder = embed_encoder(profile, 64)
    assert encoder.queries(["short", _WORD * 65], Cut()).truncated == (1,)


@pytest.mark.parametrize("profile", _PROFILES)
@pytest.mark.parametrize("stored", [False, True])
def test_documents_that_the_reranker_does_not_read_whole_are_named(
    profile: str, stored: bool
) -> None:
    encoder = rerank_encoder(profile)
    one = encoder.pairs("who?", [_WORD.strip()], None).rows.total_tokens
    room = 512 - one + 1
    texts = [(_WORD * words).strip() for words in (1, room, room + 1, 100 * room)]
    kept = encoder.keep(texts) if stored else ()
    encoded = encoder.pairs("who?", texts, None, kept)
    assert encoded.rows.lengths.tolist()[1:] == [512, 512, 512]
    assert encoded.truncated == (2, 3)
    assert encoder.pairs("who?", texts, 5, kept).truncated == (1, 2, 3)


@pytest.mark.parametrize("profile", _PROFILES)
def test_a_text_whose_tokens_are_long_is_named_too(profile: str) -> None:
    """Sixteen characters a token are as many as are read of a long text at first."""
    long = "characteristics " * 2_000
    assert embed_encoder(profile, 64).documents([long], Cut()).truncated == (0,)
    assert rerank_encoder(profile).pairs("who?", [long], None).truncated == (0,)
