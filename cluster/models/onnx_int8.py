"""Convert a dynamically quantised ONNX file of a BERT cross-encoder to a float32 checkpoint.

A quantised weight is stored as integers with one scale and one zero point: weight = (q - zero) *
scale. The rounding to 8 bits is not undone. The exporter keeps PyTorch's names of biases and norms
but not of most matrices: a matrix is named through the bias added to its product. The only module
that imports onnx.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from safetensors.numpy import save_file
from transformers import BertConfig, BertForSequenceClassification

from cluster.models.errors import ConversionError
from cluster.models.tokenizer import write_tokenizer

Tensors = dict[str, NDArray[np.float32]]

_QUANTIZED, _SCALE, _ZERO = "_quantized", "_scale", "_zero_point"

# Operators between a matrix product and the addition of its bias.
_RESCALING = {"Cast", "Mul"}


def convert_onnx_int8(package: Path, directory: Path, attention_heads: int) -> None:
    """Write `package`'s model.onnx and tokenizer to `directory` as a Hugging Face checkpoint.

    Raises ConversionError unless the tensors are those of a BertForSequenceClassification.
    """
    tensors = dequantised_tensors(onnx.load(package / "model.onnx").graph)
    config = _config(tensors, attention_heads)
    _check(tensors, config)
    config.save_pretrained(directory)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    write_tokenizer(package, directory)


def dequantised_tensors(graph: onnx.GraphProto) -> Tensors:
    """Return every weight under its PyTorch name, matrices in PyTorch's [out, in] order.

    Raises ConversionError for a matrix without a named bias.
    """
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    matrices = _matrix_names(graph, stored)
    tensors: Tensors = {}
    for name, array in stored.items():
        if name.endswith(_QUANTIZED):
            base = name.removesuffix(_QUANTIZED)
            zero = stored[base + _ZERO].astype(np.int32)
            weight = (array.astype(np.int32) - zero).astype(np.float32) * stored[base + _SCALE]
            # ONNX has matrices as [in, out]; embeddings have no product and keep their order.
            tensors[matrices.get(name, base)] = np.ascontiguousarray(
                weight.T if name in matrices else weight
            )
        elif not name.endswith((_SCALE, _ZERO)):
            tensors[name] = array.astype(np.float32)
    return tensors


def _matrix_names(graph: onnx.GraphProto, stored: dict[str, NDArray[np.generic]]) -> dict[str, str]:
    """Map quantised matrices to PyTorch names, through the biases added to their products."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    names = {}
    for node in graph.node:
        if node.op_type == "MatMulInteger" and node.input[1] in stored:
            bias = _bias(node, readers, stored)
            names[node.input[1]] = bias.removesuffix("bias") + "weight"
    return names


def _bias(
    product: onnx.NodeProto,
    readers: dict[str, list[onnx.NodeProto]],
    stored: dict[str, NDArray[np.generic]],
) -> str:
    node = product
    while True:
        following = readers.get(node.output[0], [])
        if len(following) != 1:
            raise ConversionError(f"no bias follows the matrix product {product.name}")
        [node] = following
        if node.op_type == "Add":
            break
        if node.op_type not in _RESCALING:
            raise ConversionError(f"{node.op_type}, not a bias, follows {product.name}")
    biases: list[str] = [
        value for value in node.input if value in stored and value.endswith(".bias")
    ]
    if len(biases) != 1:
        raise ConversionError(f"no named bias is added to the matrix product {product.name}")
    return biases[0]


def _config(tensors: Tensors, attention_heads: int) -> BertConfig:
    """Derive the configuration from the tensors' sizes; the rest is BERT's defaults."""
    embeddings = "bert.embeddings.{}_embeddings.weight"
    try:
        words = tensors[embeddings.format("word")]
        labels = [f"LABEL_{row}" for row in range(len(tensors["classifier.bias"]))]
        return BertConfig(
            architectures=["BertForSequenceClassification"],
            vocab_size=words.shape[0],
            hidden_size=words.shape[1],
            num_hidden_layers=sum(
                name.endswith(".attention.self.query.weight") for name in tensors
            ),
            num_attention_heads=attention_heads,
            intermediate_size=len(tensors["bert.encoder.layer.0.intermediate.dense.bias"]),
            max_position_embeddings=len(tensors[embeddings.format("position")]),
            type_vocab_size=len(tensors[embeddings.format("token_type")]),
            # transformers sizes the classifier by the number of labels.
            id2label=dict(enumerate(labels)),
            label2id={label: row for row, label in enumerate(labels)},
        )
    except KeyError as error:
        raise ConversionError(f"the ONNX file has no {error}: it is not a BERT") from error


def _check(tensors: Tensors, config: BertConfig) -> None:
    # The meta device has shapes and takes no memory.
    with torch.device("meta"):
        # The constructors of transformers' models are not annotated.
        model = BertForSequenceClassification(config)  # type: ignore[no-untyped-call]
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wanted != found:
        wrong = sorted(
            name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)
        )
        raise ConversionError(
            f"{len(wrong)} tensors are missing, unexpected or of another shape, such as {wrong[0]}"
        )
