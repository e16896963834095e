"""Make Qwen3 models with random weights and the real tokenizer.

The tiny ones, of 20 MB, take every step of a Qwen3-Embedding or Qwen3-Reranker, from prompt to
pooling, on machines too small for a real one; those in the shape of a real one cost as much as it.
Their outputs are reproducible and mean nothing.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.processors import ByteLevel, Sequence, TemplateProcessing
from transformers import Qwen3Config, Qwen3ForCausalLM

from cluster.models.qwen3_shape import TINY, Shape
from cluster.models.tokenizer import write_tokenizer

_END_OF_TEXT = "<|endoftext|>"


def make_random_qwen3(
    package: Path, directory: Path, seed: int, embedder: bool, shape: Shape = TINY
) -> None:
    """Write the model of a seed to `directory`, with the tokenizer in `package`.

    Both kinds are causal language models with tied embeddings, as the originals. An embedder also
    gets the files by which sentence-transformers and vLLM recognise one.
    """
    tokenizer = write_tokenizer(package, directory)
    config = _config(tokenizer, shape)
    config.save_pretrained(directory)
    weights = _weights(config, seed, shape.weight_scale)
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    if embedder:
        _append_end_of_text(tokenizer)
        tokenizer.save(str(directory / "tokenizer.json"))
        _write_modules(directory, shape.hidden)


def _config(tokenizer: Tokenizer, shape: Shape) -> Qwen3Config:
    return Qwen3Config(
        architectures=["Qwen3ForCausalLM"],
        dtype="bfloat16",
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=32_768,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000},
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(_END_OF_TEXT),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
    )


def _weights(config: Qwen3Config, seed: int, scale: float) -> dict[str, torch.Tensor]:
    """Draw normal matrices; norms are ones. All bfloat16, whatever transformers initialises."""
    with torch.device("meta"):
        # The constructors of transformers' models are not annotated.
        shapes = Qwen3ForCausalLM(config).state_dict()  # type: ignore[no-untyped-call]
    del shapes["lm_head.weight"]  # tied to the embeddings
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in sorted(shapes.items()):
        if shape.ndim == 1:
            weights[name] = torch.ones(shape.shape, dtype=torch.bfloat16)
        else:
            normal = torch.randn(shape.shape, generator=generator)
            weights[name] = (normal * scale).to(torch.bfloat16)
    return weights


def _append_end_of_text(tokenizer: Tokenizer) -> None:
    # Qwen3-Embedding pools the end-of-text token, which its tokenizer appends; Qwen3's does not.
    tokenizer.post_processor = Sequence(
        [
            ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False),
            TemplateProcessing(
                single=f"$A {_END_OF_TEXT}",
                pair=f"$A {_END_OF_TEXT} $B:1 {_END_OF_TEXT}:1",
                special_tokens=[(_END_OF_TEXT, tokenizer.token_to_id(_END_OF_TEXT))],
            ),
        ]
    )


def _write_modules(directory: Path, dimensions: int) -> None:
    """Write the files that tell sentence-transformers of last-token pooling and normalisation."""
    parts = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": path,
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, (kind, path) in enumerate(parts)
    ]
    pooling = {"word_embedding_dimension": dimensions, "pooling_mode_lasttoken": True}
    (directory / "1_Pooling").mkdir()
    _write_json(directory / "modules.json", modules)
    _write_json(directory / "1_Pooling" / "config.json", pooling)


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
