"""Vectors by key, in a memory-mapped file that every process of a node shares.

Bounded in bytes. New vectors go into the younger of two generations; when that fills its half, the
older one is emptied and becomes the younger. So a vector stays for between one and two fillings.

Knows neither what is embedded nor for whom.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import lmdb
import numpy as np
from numpy.typing import NDArray

from deployments.stores.node_file import open_node_file

logger = logging.getLogger(__name__)

_GENERATIONS = (b"0", b"1")
_YOUNGER = b"younger"
# Of the file; the rest is for what a transaction holds beside the two generations.
_FILLED_BY_ONE = 0.4


class VectorCache:
    """A cache of at most `max_bytes` in `directory`, for all processes of the node."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._env = open_node_file(directory, max_bytes, max_dbs=3)
        self._state = self._env.open_db(b"state")
        self._generations = [self._env.open_db(name) for name in _GENERATIONS]
        self._most_pages = int(_FILLED_BY_ONE * max_bytes / self._env.stat()["psize"])

    def get(self, keys: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        """The vector of each key, float32 [width], or None."""
        try:
            with self._env.begin() as txn:
                younger = self._younger(txn)
                order = (self._generations[younger], self._generations[1 - younger])
                found = [
                    next(filter(None, (txn.get(key, db=db) for db in order)), None) for key in keys
                ]
        except lmdb.Error:
            logger.exception("the vector cache could not be read")
            return [None] * len(keys)
        return [None if one is None else np.frombuffer(one, np.float32) for one in found]

    def put(self, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Store vectors, each float32 [width]; blocks while another process writes."""
        try:
            with self._env.begin(write=True) as txn:
                younger = self._younger(txn)
                if self._pages(txn, younger) >= self._most_pages:
                    younger = self._turn(txn, younger)
                for key, vector in vectors.items():
                    txn.put(key, vector.tobytes(), db=self._generations[younger])
        except lmdb.MapFullError:
            # More at once than a generation has room for: whole or not at all, and then not.
            return
        except lmdb.Error:
            logger.exception("the vector cache could not be written")

    def close(self) -> None:
        self._env.close()

    def _younger(self, txn: lmdb.Transaction) -> int:
        return int(txn.get(_YOUNGER, default=b"0", db=self._state))

    def _turn(self, txn: lmdb.Transaction, younger: int) -> int:
        txn.drop(self._generations[1 - younger], delete=False)
        txn.put(_YOUNGER, _GENERATIONS[1 - younger], db=self._state)
        return 1 - younger

    def _pages(self, txn: lmdb.Transaction, generation: int) -> int:
        stat = txn.stat(self._generations[generation])
        return int(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"])
