"""Tokenisation as the event loop asks for it: estimates, instructions and turns at the threads."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from deployments.errors import InvalidRequest
from deployments.request.origin import Origin
from deployments.rows.encoded_rows import EncodedRows
from deployments.text.encoder import Encoder
from deployments.text.prompts import Cut
from deployments.text.tokenizer import EmbedEncoder
from tests.unit.text.encoders import config_of, embed_encoder, fast_tokenizer, rerank_encoder

_LONG = "word " * 1_000


@pytest.mark.parametrize(
    ("profile", "embed", "rerank", "read"),
    [
        ("tiny-qwen3", True, False, True),
        ("tiny-qwen3", False, True, True),
        ("local", True, True, False),
    ],
)
def test_a_model_that_reads_no_instruction_says_so(
    profile: str, embed: bool, rerank: bool, read: bool
) -> None:
    encoder = Encoder(embed_encoder(profile), rerank_encoder(profile), 1)
    if read:
        encoder.require_instruction(embed, rerank)
        return
    with pytest.raises(InvalidRequest, match="reads an instruction: leave it out"):
        encoder.require_instruction(embed, rerank)


def test_an_estimate_never_exceeds_the_models_limit() -> None:
    encoder = Encoder(embed_encoder("local", 64), rerank_encoder("local", 64), threads=1)
    assert encoder.text_tokens(["a" * 40, "b" * 20]) == 15
    assert encoder.text_tokens(["a" * 1_000_000] * 3) == 3 * 64
    assert encoder.pair_tokens("q" * 20, ["a" * 20, "b" * 1_000_000]) == 10 + 64


class Gated(EmbedEncoder):
    """Tokenises when it is let; counts the long texts that are tokenised at a time."""

    def __init__(self) -> None:
        config = config_of("local").embedder
        super().__init__(fast_tokenizer(config.name), config.template, 512)
        self._may_go = threading.Event()
        self._lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    def let(self) -> None:
        self._may_go.set()

    def documents(self, texts: Sequence[str], cut: Cut | None) -> EncodedRows:
        if texts[0] == _LONG:
            self._wait()
        return super().documents(texts, cut)

    def _wait(self) -> None:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self._may_go.wait(10)
        with self._lock:
            self.at_once -= 1


@pytest.mark.parametrize(("tenants", "at_once"), [("aaa", 1), ("aab", 2)])
async def test_one_long_text_of_a_tenant_is_tokenised_at_a_time(tenants: str, at_once: int) -> None:
    gated = Gated()
    encoder = Encoder(gated, rerank_encoder("local"), threads=3)
    tasks = [
        asyncio.create_task(encoder.documents([_LONG], Cut(), Origin(tenant))) for tenant in tenants
    ]
    async with asyncio.timeout(10):
        while gated.at_once < at_once:
            await asyncio.sleep(0.001)
    gated.let()
    await asyncio.gather(*tasks)
    assert gated.most_at_once == at_once


async def test_a_short_text_does_not_wait_for_a_long_one_of_its_tenant() -> None:
    gated = Gated()
    encoder = Encoder(gated, rerank_encoder("local"), threads=1)
    long = asyncio.create_task(encoder.documents([_LONG], Cut(), Origin("a")))
    await asyncio.sleep(0)
    short = await asyncio.wait_for(encoder.documents(["short"], Cut(), Origin("a")), 5)
    assert len(short.rows) == 1
    assert not long.done()
    gated.let()
    await long
