"""The tiny Qwen3 models are reproducible, and have what the tests need of the real ones."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from cluster.models.catalog import TinyQwen3, load_catalog
from cluster.models.manifest import file_sha256
from cluster.models.random_qwen3 import make_random_qwen3

_NO, _YES, _END_OF_TEXT = 2152, 9693, 151643

_PROMPT = (
    "<|im_start|>user\n<Query>: What is the capital of China?\n<Document>: {}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
_DOCUMENTS = [
    "The capital of China is Beijing.",
    "Gravity is a force.",
    "Cats sleep.",
    "Berlin has a population of 3,520,031 registered inhabitants.",
    "Water boils at 100 degrees Celsius at sea level.",
    "A",
]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path, tiny_reranker: Path) -> None:
    build = load_catalog().artefacts["tiny-qwen3-reranker"].build
    assert isinstance(build, TinyQwen3)
    hashes = {file_sha256(tiny_reranker / "model.safetensors")}
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        make_random_qwen3(tiny_reranker, tmp_path / name, build.seed, embedder=False)
        hashes.add(file_sha256(tmp_path / name / "model.safetensors"))
    assert len(hashes) == 1


def test_the_two_models_differ(tiny_embedder: Path, tiny_reranker: Path) -> None:
    digests = [file_sha256(path / "model.safetensors") for path in (tiny_embedder, tiny_reranker)]
    assert digests[0] != digests[1]


def test_the_scores_of_the_reranker_depend_on_the_document(tiny_reranker: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_reranker)
    tokenizer = AutoTokenizer.from_pretrained(tiny_reranker)
    scores = []
    for document in _DOCUMENTS:
        batch = tokenizer(_PROMPT.format(document), return_tensors="pt")
        with torch.no_grad():
            logits = model(**batch).logits[0, -1].float()
        scores.append(float(torch.sigmoid(logits[_YES] - logits[_NO])))
    assert model.dtype == torch.bfloat16
    assert min(scores) < 0.4
    assert max(scores) > 0.6
    assert len(set(scores)) == len(scores)


def test_the_reranker_is_an_original_checkpoint(tiny_reranker: Path) -> None:
    config = json.loads((tiny_reranker / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]
    assert config["tie_word_embeddings"]
    tokenizer = AutoTokenizer.from_pretrained(tiny_reranker)
    assert tokenizer.convert_tokens_to_ids(["no", "yes"]) == [_NO, _YES]


@pytest.mark.parametrize(
    ("name", "appended"), [("tiny_embedder", [_END_OF_TEXT]), ("tiny_reranker", [])]
)
def test_only_the_embedders_tokenizer_appends_the_token_to_pool(
    name: str, appended: list[int], request: pytest.FixtureRequest
) -> None:
    directory: Path = request.getfixturevalue(name)
    bare = Tokenizer.from_file(str(directory / "tokenizer.json"))
    full = AutoTokenizer.from_pretrained(directory)
    assert bare.encode("hello").ids == full("hello")["input_ids"] == [14990, *appended]
    assert bare.encode("hello", add_special_tokens=False).ids == [14990]


def test_the_embedder_says_how_it_is_pooled(tiny_embedder: Path) -> None:
    modules = json.loads((tiny_embedder / "modules.json").read_text())
    pooling = json.loads((tiny_embedder / "1_Pooling" / "config.json").read_text())
    kinds = [module["type"].rsplit(".", 1)[1] for module in modules]
    assert kinds == ["Transformer", "Pooling", "Normalize"]
    assert pooling == {"word_embedding_dimension": 64, "pooling_mode_lasttoken": True}
