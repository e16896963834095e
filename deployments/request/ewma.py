"""An exponentially weighted moving average, by which durations and sizes are learned.

Knows nothing of what it averages.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Ewma:
    """The average `value`, None before the first sample; later ones have `weight`, in (0, 1]."""

    weight: float
    value: float | None = None

    def add(self, sample: float) -> None:
        before = sample if self.value is None else self.value
        self.value = before + self.weight * (sample - before)
