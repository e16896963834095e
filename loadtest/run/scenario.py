"""Scenarios: files that say who sends what, to which cluster, and which faults strike meanwhile.

The objectives that make a run pass are in a file of their own (`slo`), which fits any service.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from cluster.profile import application, load_profile
from loadtest.chaos.faults import ALL, REPLICATED_ONLY, Fault
from loadtest.run.slo import Slo
from loadtest.traffic import Traffic

_DIRECTORY = Path(__file__).parents[1] / "scenarios"
_FAULTS = {fault.name: fault for fault in ALL if fault not in REPLICATED_ONLY}


class UnknownScenarioError(Exception):
    """There is no such scenario, or it names a deployment that its profile lacks."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _known(fault: str) -> str:
    if fault not in _FAULTS:
        raise ValueError(f"there is no fault '{fault}': take one of {', '.join(_FAULTS)}")
    return fault


class Event(_Strict):
    """A fault of loadtest/chaos, by its name, at a time after the start."""

    at_s: float = Field(ge=0)
    fault: Annotated[str, AfterValidator(_known)]

    def find(self) -> Fault:
        return _FAULTS[self.fault]


class ClusterSpec(_Strict):
    """The cluster to start where no URL is given: a profile and changes to it.

    `deployments` replaces options of the profile's deployments by name; null removes an option.
    """

    profile: str = "local"
    deployments: dict[str, dict[str, Any]] = {}
    autoscaling_policy: dict[str, Any] | None = None

    def build(self) -> dict[str, Any]:
        """Return the changed profile.

        Raises UnknownScenarioError for a deployment that the profile does not have.
        """
        profile = load_profile(self.profile)
        app = application(profile)
        by_name = {one["name"]: one for one in app["deployments"]}
        if unknown := self.deployments.keys() - by_name:
            raise UnknownScenarioError(f"{self.profile} has no deployment {min(unknown)}")
        for name, changes in self.deployments.items():
            by_name[name] |= changes
            for option in [key for key, value in changes.items() if value is None]:
                del by_name[name][option]
        if self.autoscaling_policy is not None:
            app["autoscaling_policy"] = self.autoscaling_policy
        return profile | {"applications": [app]}


class Scenario(_Strict):
    """A load test; `traffic` is sized for two cores.

    The first `warm_up_s` of the traffic are sent once before and not measured. Each tenant has
    `documents` documents to search, of the lengths that `traffic` says. `plans` maps tenants to
    their plans; the others are on the default plan.
    """

    about: str
    traffic: Traffic
    slo: str
    seed: int = 1
    warm_up_s: float = Field(default=5, ge=0)
    documents: int = Field(default=200, gt=0)
    on_timeout: Literal["error", "retrieval_order"] = "error"
    plans: Mapping[str, str] = {}
    events: tuple[Event, ...] = ()
    cluster: ClusterSpec = ClusterSpec()

    def scaled(self, times: float) -> "Scenario":
        """Multiply the rate, for a service `times` as large."""
        rate = self.traffic.requests_per_s * times
        traffic = self.traffic.model_copy(update={"requests_per_s": rate})
        return self.model_copy(update={"traffic": traffic})

    def disturbed_s(self) -> tuple[float, float] | None:
        """Return when surges or faults begin and end, in seconds; None if there are none.

        After a fault the run counts as disturbed to its end.
        """
        own = [surge for tenant in self.traffic.tenants for surge in tenant.surges]
        surges = [*self.traffic.surges, *own]
        begins = [surge.at_s for surge in surges] + [event.at_s for event in self.events]
        ends = [surge.at_s + surge.lasts_s + surge.ramp_s for surge in surges]
        if not begins:
            return None
        return min(begins), self.traffic.duration_s if self.events else max(ends)


def scenario_names() -> list[str]:
    return sorted(path.stem for path in _DIRECTORY.glob("*.yaml"))


def load_scenario(name: str) -> Scenario:
    """Load the scenario of that name, or the file at that path. Raises UnknownScenarioError."""
    return Scenario.model_validate(_read(name, _DIRECTORY, scenario_names()))


def load_slo(name: str) -> Slo:
    """Load objectives from scenarios/slo, or a file, as `load_scenario` does."""
    directory = _DIRECTORY / "slo"
    names = sorted(path.stem for path in directory.glob("*.yaml"))
    return Slo.model_validate(_read(name, directory, names))


def _read(name: str, directory: Path, names: list[str]) -> Any:
    path = directory / f"{name}.yaml" if name in names else Path(name)
    if not path.is_file():
        raise UnknownScenarioError(
            f"there is no '{name}': take one of {', '.join(names)}, or a file"
        )
    return yaml.safe_load(path.read_text())
