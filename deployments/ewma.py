"""An exponentially weighted moving average: how this process learns how long things take."""

from dataclasses import dataclass


@dataclass(slots=True)
class Ewma:
    """`value` is None until the first sample; each later one counts with `weight`, in (0, 1]."""

    weight: float
    value: float | None = None

    def add(self, sample: float) -> None:
        before = sample if self.value is None else self.value
        self.value = before + self.weight * (sample - before)
