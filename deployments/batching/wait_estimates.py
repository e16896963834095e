"""How far estimates of a wait can be trusted: by how those before came out.

An estimate is made when work comes, from what waits then. Others come later and take their shares,
higher lanes go first, rows cost more than their tokens say: how much longer things take than was
said changes slowly, and is learnt for each tenant and lane from its own work.

Pure: is told seconds, and knows no clock.
"""

from deployments.request.origin import Origin

# Shorter ones tell more of batches than of queues.
_TELLING_S = 0.5
# What was promised and comes too late costs more than what was refused and had been in time.
_WEIGHT_OF_LONGER, _WEIGHT_OF_SHORTER = 0.5, 0.05
_WORST = 4.0
_MOST_ORIGINS = 1_000


class Foresight:
    def __init__(self) -> None:
        self._factors: dict[Origin, float] = {}

    def factor(self, origin: Origin) -> float:
        """By which an estimate is to be multiplied, 1 at least."""
        return max(1.0, self._factors.get(origin, 1.0))

    def learn(self, origin: Origin, estimate_s: float, took_s: float) -> None:
        """What was estimated, without the factor, and how long it took, or at least took."""
        if estimate_s >= _TELLING_S:
            seen = min(took_s / estimate_s, _WORST)
        elif origin in self._factors:
            seen = 1.0  # there is no queue, so what was learnt of it fades
        else:
            return
        before = self._factors.pop(origin, seen)
        if len(self._factors) >= _MOST_ORIGINS:
            del self._factors[next(iter(self._factors))]
        weight = _WEIGHT_OF_LONGER if seen > before else _WEIGHT_OF_SHORTER
        self._factors[origin] = before + weight * (seen - before)
