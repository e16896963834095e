"""A model's tokenizer, loaded from its files. No user's text may hold a special token."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer


def load_tokenizer(directory: Path) -> Tokenizer:
    """Load the Rust tokenizer of a model directory, without padding or truncation."""
    file = directory / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file)) if file.is_file() else _converted(directory)
    tokenizer.add_special_tokens(_added_tokens(tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _added_tokens(tokenizer: Tokenizer) -> list[AddedToken]:
    """Every token that stands for itself in a text, also one that the model's author did not flag
    as special, as Qwen3's `<think>`: no user's text may hold it."""
    return list(tokenizer.get_added_tokens_decoder().values())


def _converted(directory: Path) -> Tokenizer:
    """Convert the tokenizer of a directory that has only an older vocabulary format."""
    # Imported late: it loads torch, which costs a Router seconds and some hundred MB.
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory).backend_tokenizer
