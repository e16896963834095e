"""An embed stage with a cache: a text that was embedded before is not embedded again.

Exact match: a vector is kept under the digest of its model's fingerprint, its tenant and its token
ids. The tenant is part of it so that no one can tell by the time it takes what another has asked.
Equal texts that arrive while the first is being embedded wait for its vector, unless that is in a
later lane than theirs. New vectors are written behind, many at a time: a transaction a request
costs a Router a sixth of its time. Bulk work passes by: its texts hardly ever come twice, and would
push out those that do.

Knows no Ray and no store: the stage and the cache are given.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deployments.errors import RowFailed
from deployments.pipeline.stages import ModelStage
from deployments.request.batch_run import BatchRun
from deployments.request.deadline import Deadline, within
from deployments.request.origin import LANES, Lane, Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Flight:
    """A vector that is being computed in a lane; None when that failed."""

    lane: Lane
    vector: asyncio.Future[Vector | None]

    def is_as_soon_as(self, lane: Lane) -> bool:
        """Work of a later lane may have to wait for all else of its own."""
        return LANES.index(self.lane) <= LANES.index(lane)


_Flights = dict[bytes, _Flight]

_WRITE_EVERY_S = 0.25


class Cache(Protocol):
    """A VectorCache, or what takes its place."""

    def get(self, keys: Sequence[bytes]) -> list[Vector | None]: ...
    def put(self, vectors: Mapping[bytes, Vector]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Request:
    """Rows and their keys; `first` is the first row of each key. `runs` are the batches that
    computed those that were computed for it."""

    rows: TokenRows
    keys: list[bytes]
    first: dict[bytes, int]
    fingerprint: str
    deadline: Deadline
    origin: Origin
    runs: list[BatchRun] = field(default_factory=list)


class CachedEmbedStage:
    """A ModelStage. `observe` is called with the tokens that the cache spared a request."""

    def __init__(self, stage: ModelStage, cache: Cache, observe: Callable[[int], None]) -> None:
        self._stage = stage
        self._cache = cache
        self._observe = observe
        # Fingerprint of the model that answered last: cached vectors of another are not used.
        self._fingerprint = ""
        self._under_way: _Flights = {}
        self._unwritten: dict[bytes, Vector] = {}
        self._writing: asyncio.Task[None] | None = None

    def admit(self, tokens: float, deadline: Deadline, origin: Origin) -> None:
        self._stage.admit(tokens, deadline, origin)

    async def compute(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        if origin.lane == "bulk" or not self._fingerprint:
            return await self._embed(rows, deadline, origin)
        keys = _keys(rows, self._fingerprint, origin.tenant)
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        request = _Request(rows, keys, first, self._fingerprint, deadline, origin)
        vectors = self._find(keys)
        missing = [key for key, vector in vectors.items() if vector is None]
        awaited = {key: flight for key in missing if (flight := self._flight(key, origin.lane))}
        mine = [key for key in missing if key not in awaited]
        vectors.update(await self._lead(mine, request))
        for key, flight in awaited.items():
            vectors[key] = await within(deadline, asyncio.shield(flight.vector))
        # Whoever embedded them for all failed, perhaps for want of time that this request has.
        lost = [key for key in awaited if vectors[key] is None]
        vectors.update(await self._lead(lost, request))
        return self._whole(request, vectors, {*mine, *lost}) or await self._embed(
            rows, deadline, origin
        )

    def _flight(self, key: bytes, lane: Lane) -> _Flight | None:
        flight = self._under_way.get(key)
        return flight if flight is not None and flight.is_as_soon_as(lane) else None

    def _whole(
        self, request: _Request, vectors: Mapping[bytes, Vector | None], computed: set[bytes]
    ) -> ModelOutput | None:
        """The output for all rows; None if another model has come meanwhile."""
        keys, rows = request.keys, request.rows
        found = [vector for vector in (vectors[key] for key in keys) if vector is not None]
        if len(found) < len(keys):
            return None
        anew = [key in computed and request.first[key] == row for row, key in enumerate(keys)]
        cached_tokens = np.where(anew, 0, rows.lengths).astype(np.int32)
        self._observe(int(cached_tokens.sum()))
        runs = tuple(request.runs)
        return ModelOutput(np.stack(found), cached_tokens, request.fingerprint, runs)

    async def _lead(self, mine: Sequence[bytes], request: _Request) -> dict[bytes, Vector]:
        """Embed the keys `mine`, and wake the requests that wait for them."""
        if not mine:
            return {}
        loop = asyncio.get_running_loop()
        lane = request.origin.lane
        flights: _Flights = {key: _Flight(lane, loop.create_future()) for key in mine}
        self._under_way.update(flights)
        vectors: dict[bytes, Vector] = {}
        try:
            computed = await self._embed_first(mine, request)
            request.runs.extend(computed.runs)
            if computed.fingerprint == request.fingerprint:
                vectors = dict(zip(mine, computed.values, strict=True))
        finally:
            for key, flight in flights.items():
                flight.vector.set_result(vectors.get(key))
                if self._under_way.get(key) is flight:
                    del self._under_way[key]
            self._keep(vectors)
        return vectors

    async def _embed_first(self, mine: Sequence[bytes], request: _Request) -> ModelOutput:
        """Embed the first row of each key; a failure names the request's row."""
        chosen = [request.first[key] for key in mine]
        rows = request.rows if len(mine) == len(request.rows) else request.rows.select(chosen)
        try:
            return await self._embed(rows, request.deadline, request.origin)
        except RowFailed as failure:
            raise RowFailed.at(chosen[failure.row], "embed") from None

    def _find(self, keys: Sequence[bytes]) -> dict[bytes, Vector | None]:
        found: dict[bytes, Vector | None] = {key: self._unwritten.get(key) for key in keys}
        others = [key for key, vector in found.items() if vector is None]
        return found | dict(zip(others, self._cache.get(others), strict=True))

    def _keep(self, vectors: Mapping[bytes, Vector]) -> None:
        self._unwritten.update(vectors)
        if self._unwritten and self._writing is None:
            # In no request's context: Serve ends the tasks of one whose client is gone.
            self._writing = asyncio.create_task(self._write_behind(), context=Context())

    async def _write_behind(self) -> None:
        try:
            while self._unwritten:
                await asyncio.sleep(_WRITE_EVERY_S)
                written = dict(self._unwritten)
                await asyncio.to_thread(self._cache.put, written)
                for key in written:
                    del self._unwritten[key]
        finally:
            self._writing = None

    async def _embed(self, rows: TokenRows, deadline: Deadline, origin: Origin) -> ModelOutput:
        computed = await self._stage.compute(rows, deadline, origin)
        self._fingerprint = computed.fingerprint
        return computed


def _keys(rows: TokenRows, fingerprint: str, tenant: str) -> list[bytes]:
    whose = hashlib.blake2b(f"{fingerprint}\0{tenant}".encode()).digest()
    return [hashlib.blake2b(row, digest_size=24, key=whose).digest() for row in _bytes(rows)]


def _bytes(rows: TokenRows) -> list[memoryview]:
    whole = memoryview(rows.ids.astype(np.int32).tobytes())
    ends = (np.cumsum(rows.lengths, dtype=np.int64) * 4).tolist()
    return [whole[start:end] for start, end in zip([0, *ends], ends, strict=False)]
