"""Milliseconds that a store takes for a search of a collection, learnt from the searches before.

Pure: is told how long batches took, and knows no clock and no store.
"""

from collections.abc import Sequence

import numpy as np
from cachetools import LRUCache

from deployments.request.ewma import Ewma
from deployments.rows.searches import Searches
from deployments.stores.base import IndexSearch, Namespace

_WEIGHT_OF_NEW = 0.3
_UNKNOWN_MS = 5.0
_MOST_MS = 1_000.0
_MOST_COLLECTIONS = 1_000


class SearchCosts:
    def __init__(self) -> None:
        self._learnt_ms: LRUCache[Namespace, Ewma] = LRUCache(_MOST_COLLECTIONS)

    def estimate(self, searches: Sequence[IndexSearch]) -> Searches:
        """The searches with their costs, 1 ms at least."""
        costs = [max(1, round(self._estimate_ms(one.query.ns))) for one in searches]
        return Searches(tuple(searches), np.array(costs, np.int32))

    def learn(self, searches: Sequence[IndexSearch], took_s: float) -> None:
        """Take in that the store answered `searches` together in `took_s`."""
        each_ms = min(1000 * took_s / len(searches), _MOST_MS)
        for ns in {one.query.ns for one in searches}:
            self._learnt_ms.setdefault(ns, Ewma(_WEIGHT_OF_NEW)).add(each_ms)

    def _estimate_ms(self, ns: Namespace) -> float:
        learnt = self._learnt_ms.get(ns)
        return _UNKNOWN_MS if learnt is None or learnt.value is None else learnt.value
