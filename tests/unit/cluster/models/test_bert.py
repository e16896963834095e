"""The two BERT models give the expected outputs in transformers."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from tokenizers import Tokenizer
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from cluster.models.errors import ConversionError
from cluster.models.manifest import file_sha256, read_manifest
from cluster.models.onnx_int8 import convert_onnx_int8, dequantised_tensors

_QUERY = "How many people live in Berlin?"

# Raw logits of the dequantised weights. An independent conversion gave the first two as well.
_GOLDEN = [
    (
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square"
        " kilometers.",
        9.0851,
    ),
    ("Berlin is well known for its museums.", -3.9343),
    (
        "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 square"
        " kilometers.",
        9.2668,
    ),
    ("New York City is famous for the Metropolitan Museum of Art.", -11.1875),
]


def test_the_reranker_gives_the_golden_logits(reranker: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(reranker).eval()
    tokenizer = AutoTokenizer.from_pretrained(reranker)
    documents = [document for document, _ in _GOLDEN]
    batch = tokenizer([_QUERY] * len(documents), documents, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits
    assert model.dtype == torch.float32
    assert logits.shape == (len(documents), 1)
    assert logits[:, 0].tolist() == pytest.approx([logit for _, logit in _GOLDEN], abs=1e-3)


def test_the_reranker_loads_without_missing_or_unexpected_tensors(reranker: Path) -> None:
    model, loading = AutoModelForSequenceClassification.from_pretrained(
        reranker, output_loading_info=True
    )
    assert len(model.state_dict()) == 201
    assert not loading["missing_keys"]
    assert not loading["unexpected_keys"]


def test_the_embedder_is_the_published_one(embedder: Path) -> None:
    manifest = read_manifest(embedder)
    weights = file_sha256(embedder / "model.safetensors")
    assert weights == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert manifest is not None
    assert manifest.sha256 == {"model.safetensors": weights}


def test_the_embedder_finds_the_passage_that_answers(embedder: Path) -> None:
    model = AutoModel.from_pretrained(embedder).eval()
    tokenizer = AutoTokenizer.from_pretrained(embedder)
    vectors = []
    for text in [_QUERY, _GOLDEN[0][0], _GOLDEN[3][0]]:
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        vectors.append(torch.nn.functional.normalize(hidden.mean(dim=1)[0], dim=0))
    query, answer, other = vectors
    assert query @ answer > 0.7 > 0.3 > query @ other


@pytest.mark.parametrize("name", ["embedder", "reranker"])
def test_bare_tokenizer_files_neither_pad_nor_cut(
    name: str, request: pytest.FixtureRequest
) -> None:
    directory: Path = request.getfixturevalue(name)
    bare = Tokenizer.from_file(str(directory / "tokenizer.json"))
    assert bare.padding is None
    assert bare.truncation is None
    assert bare.encode(_QUERY).ids == AutoTokenizer.from_pretrained(directory)(_QUERY)["input_ids"]
    assert len(bare.encode("word " * 600).ids) == 602


def test_a_matrix_is_named_by_its_bias_dequantised_and_turned() -> None:
    tensors = dequantised_tensors(_graph(between="Mul"))
    assert tensors.keys() == {"dense.weight", "dense.bias"}
    # (q - 3) * 0.5 of [[1, 3, 5], [7, 9, 11]], then [out, in].
    assert tensors["dense.weight"].tolist() == [[-1, 2], [0, 3], [1, 4]]


def test_a_matrix_without_a_bias_is_refused() -> None:
    with pytest.raises(ConversionError, match="follows product"):
        dequantised_tensors(_graph(between="Relu"))


def test_a_file_that_is_not_a_bert_is_refused(tmp_path: Path) -> None:
    onnx.save(helper.make_model(_graph(between="Mul")), tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match="not a BERT"):
        convert_onnx_int8(tmp_path, tmp_path, attention_heads=12)


def _graph(between: str) -> onnx.GraphProto:
    """A dynamically quantised dense layer of 2 inputs and 3 outputs."""
    dense = "anonymous_{}".format
    weights = [
        helper.make_tensor(dense("quantized"), TensorProto.INT8, [2, 3], [1, 3, 5, 7, 9, 11]),
        helper.make_tensor(dense("scale"), TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor(dense("zero_point"), TensorProto.INT8, [], [3]),
        helper.make_tensor("dense.bias", TensorProto.FLOAT, [3], [0.0, 0.0, 0.0]),
    ]
    nodes = [
        helper.make_node("MatMulInteger", ["x", dense("quantized")], ["integers"], name="product"),
        helper.make_node(between, ["integers"], ["rescaled"]),
        helper.make_node("Add", ["dense.bias", "rescaled"], ["y"]),
    ]
    return helper.make_graph(nodes, "dense", [], [], weights)
