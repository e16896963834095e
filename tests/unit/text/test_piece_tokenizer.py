"""Batches of texts are tokenised in the thread that asks, not in the library's pool."""

import subprocess
import sys

import pytest

_PROGRAM = """
import sys, threading
from pathlib import Path
from tokenizers import Tokenizer, models, pre_tokenizers
from deployments.text.piece_tokenizer import PieceTokenizer, tokenize_in_calling_thread
if sys.argv[1] == "here":
    tokenize_in_calling_thread()
tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
before = len(list(Path("/proc/self/task").iterdir()))
assert PieceTokenizer(tokenizer).texts(["a b"] * 64) == [[0, 1]] * 64
print(len(list(Path("/proc/self/task").iterdir())) - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
@pytest.mark.parametrize(("where", "has_pool"), [("here", False), ("anywhere", True)])
def test_a_batch_starts_no_pool_of_threads(where: str, has_pool: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, where], capture_output=True, text=True, check=True
    )
    assert (int(done.stdout) > 0) == has_pool
