"""What every model stage tells about itself. Plain values that cross between replicas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A replica that answers this has passed its golden check. Queue figures are its own."""

    model: str
    fingerprint: str
    queued_rows: int
    queued_tokens: int


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Unit vectors, float32 [rows, dimensions], and the fingerprint of the model they are of."""

    vectors: NDArray[np.float32]
    fingerprint: str
