"""The same answers by transformers, on the same device, without batches or caches.

In float32, so that what differs is the engine's; and in bfloat16, which shows how much of that is
the number type's.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from deployments.rows.token_rows import TokenRows

Precision = Literal["float32", "bfloat16"]


def vectors(directory: Path, rows: TokenRows, precision: Precision) -> NDArray[np.float32]:
    """Unit vectors, float32 [rows, dimensions]: the hidden state of each row's last token."""
    model = _loaded(AutoModel, directory, precision)
    last = [_run(model, row).last_hidden_state[0, -1].float() for row in rows]
    unit = torch.nn.functional.normalize(torch.stack(last), dim=1)
    found: NDArray[np.float32] = unit.cpu().numpy()
    return found


def logits(directory: Path, rows: TokenRows, precision: Precision) -> NDArray[np.float32]:
    """Logits, float32 [rows]: that of "yes" less that of "no" after each row's last token."""
    model = _loaded(AutoModelForCausalLM, directory, precision)
    tokenizer: Any = AutoTokenizer.from_pretrained(directory)
    no, yes = tokenizer.convert_tokens_to_ids(["no", "yes"])
    last = [_run(model, row).logits[0, -1].float() for row in rows]
    found: NDArray[np.float32] = torch.stack([one[yes] - one[no] for one in last]).cpu().numpy()
    return found


def _loaded(kind: Any, directory: Path, precision: Precision) -> Any:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return kind.from_pretrained(directory, dtype=getattr(torch, precision)).to(device).eval()


def _run(model: Any, row: list[int]) -> Any:
    with torch.inference_mode():
        return model(torch.tensor([row], device=model.device))
