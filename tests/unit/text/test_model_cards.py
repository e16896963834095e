"""Templates applied piece by piece give the ids of the model cards' own whole-string code."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.text.prompts import DEFAULT_INSTRUCTION
from tests.unit.text.encoders import embed_encoder, reference, rerank_encoder

# Names of tokens, which hypothesis takes from this source: Winnow reads them as text, the models'
# own code does not.
_TOKEN_NAMES = re.compile(r"<\|\w+\|>|</?\w+>|\[[A-Z]+\]")
# The Router refuses lone surrogates before it tokenises.
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda text: not _TOKEN_NAMES.search(text)
)


@settings(max_examples=150, deadline=None)
@given(query=_TEXTS, document=_TEXTS)
def test_qwen3_pairs_equal_the_card(query: str, document: str) -> None:
    tokenizer = reference("tiny-qwen3-reranker")
    body = f"<Instruct>: {DEFAULT_INSTRUCTION}\n<Query>: {query}\n<Document>: {document}"
    [ours] = rerank_encoder("tiny-qwen3").pairs(query, [document], None).rows
    prefix = tokenizer.encode(
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query"
        ' and the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
        "<|im_start|>user\n",
        add_special_tokens=False,
    )
    suffix = tokenizer.encode(
        "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", add_special_tokens=False
    )
    assert ours == prefix + tokenizer.encode(body, add_special_tokens=False) + suffix


@settings(max_examples=100, deadline=None)
@given(query=_TEXTS, document=_TEXTS)
def test_bert_pairs_equal_the_tokenizers_own(query: str, document: str) -> None:
    own = reference("ms-marco-MiniLM-L-12-v2")(query, document)
    rows = rerank_encoder("local").pairs(query, [document], None).rows
    assert list(rows) == [own.input_ids]
    assert rows.segments is not None
    if 1 in own.token_type_ids:
        assert rows.segments.tolist() == [own.token_type_ids.index(1)]


@settings(max_examples=100, deadline=None)
@given(text=_TEXTS)
def test_embedding_rows_equal_the_cards(text: str) -> None:
    bert = reference("all-MiniLM-L6-v2")(text, truncation=True, max_length=256).input_ids
    assert list(embed_encoder("local").documents([text], None).rows) == [bert]
    tokenizer = reference("tiny-qwen3-embedding")
    end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    query = f"Instruct: {DEFAULT_INSTRUCTION}\nQuery:{text}"
    for ours, whole in (
        (embed_encoder("tiny-qwen3").documents([text], None).rows, text),
        (embed_encoder("tiny-qwen3").queries([text], None).rows, query),
    ):
        assert list(ours) == [[*tokenizer.encode(whole, add_special_tokens=False), end]]
