"""Plans: the limits, weight and lanes of a tenant.

Plans are part of the Router's `user_config`, so they change without a restart. Which tenant is on
which plan is in the control store.

Pure: counts nothing and knows no tenant.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from deployments.errors import LaneNotAllowed
from deployments.request.origin import LANES, Lane
from deployments.tenants.api_keys import DEFAULT_PLAN

PlanName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Plan(BaseModel):
    """The limits of one plan; None is no limit.

    A whole minute's requests or tokens may come in one burst. While both wait, a tenant of
    `weight` 2 gets twice the share of one of weight 1. Lanes: searches are interactive, document
    upserts bulk, all other requests default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_min: int | None = Field(default=None, gt=0)
    tokens_per_min: int | None = Field(default=None, gt=0)
    concurrent_requests: int | None = Field(default=None, gt=0)
    documents: int | None = Field(default=None, ge=0)
    weight: float = Field(default=1.0, gt=0)
    lanes: tuple[Lane, ...] = Field(default=LANES, min_length=1)

    def lane(self, requested: Lane) -> Lane:
        """Return the highest lane that the plan allows and that is not above `requested`.

        Raises LaneNotAllowed if there is none.
        """
        for lane in LANES[LANES.index(requested) :]:
            if lane in self.lanes:
                return lane
        raise LaneNotAllowed(
            f"this request is '{requested}' work, which this tenant's plan does not include"
        )


class Plans(BaseModel):
    """Plans by name.

    A tenant whose plan is missing here gets the default plan, which limits nothing unless it is
    defined here. `requests_at_once` are the concurrency slots of one Router, shared by weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    plans: dict[PlanName, Plan] = {}
    requests_at_once: int = Field(default=500, gt=0)

    def of(self, name: str) -> Plan:
        return self.plans.get(name) or self.plans.get(DEFAULT_PLAN) or _UNLIMITED

    def __contains__(self, name: str) -> bool:
        return name == DEFAULT_PLAN or name in self.plans


_UNLIMITED = Plan()
