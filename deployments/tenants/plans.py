"""What a tenant may have. Plans stand in the Router's `user_config`, where they are turned live;
which tenant is on which is in the control store.

Pure: counts nothing and knows no tenant.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from deployments.errors import LaneNotAllowed
from deployments.request.origin import LANES, Lane
from deployments.tenants.api_keys import DEFAULT_PLAN

PlanName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Plan(BaseModel):
    """Null is without limit. A minute's requests or tokens may come at once. A tenant of `weight` 2
    gets twice the share of one of weight 1 where both wait. Lanes: searches are interactive,
    document upserts bulk, all else default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_min: int | None = Field(default=None, gt=0)
    tokens_per_min: int | None = Field(default=None, gt=0)
    concurrent_requests: int | None = Field(default=None, gt=0)
    documents: int | None = Field(default=None, ge=0)
    weight: float = Field(default=1.0, gt=0)
    lanes: tuple[Lane, ...] = Field(default=LANES, min_length=1)

    def lane(self, asked: Lane) -> Lane:
        """The best lane that the plan allows and that is no better than `asked`.

        Raises LaneNotAllowed where there is none.
        """
        for lane in LANES[LANES.index(asked) :]:
            if lane in self.lanes:
                return lane
        raise LaneNotAllowed(f"this tenant's plan has no '{asked}' work, which this request is")


class Plans(BaseModel):
    """By name. A tenant whose plan is not here is on the default one, which limits nothing unless
    it is here. All together have `requests_at_once` under way at a Router, by weight."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plans: dict[PlanName, Plan] = {}
    requests_at_once: int = Field(default=500, gt=0)

    def of(self, name: str) -> Plan:
        return self.plans.get(name) or self.plans.get(DEFAULT_PLAN) or _UNLIMITED

    def __contains__(self, name: str) -> bool:
        return name == DEFAULT_PLAN or name in self.plans


_UNLIMITED = Plan()
