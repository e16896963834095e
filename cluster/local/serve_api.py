"""Ray Serve's REST API on this machine: what is deployed, and its status. Knows no profile."""

from dataclasses import dataclass
from typing import Any

import httpx

from deployments.calls.failure_reasons import GOOD_STATUSES, is_problem, reason

_PATH = "/api/serve/applications/"
_TIMEOUT_S = 30.0
# The first configuration starts Serve itself, for minutes where the cores are busy.
_DEPLOY_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class ReplicaState:
    """A replica: Serve's `id` of it, its `state` (RUNNING, STARTING, STOPPING and so on), and the
    IP address of its node, empty before it has one."""

    id: str
    state: str
    node_ip: str


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment: replicas counted by state, and the number that Serve wants.

    `pids` are the process ids of the running replicas, `nodes` the ids of their nodes; `each` is
    every replica, in whatever state.
    """

    name: str
    status: str
    message: str
    replicas: dict[str, int]
    wanted: int
    pids: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    each: tuple[ReplicaState, ...] = ()

    def serving(self) -> str:
        """Say what serves although this deployment has a problem."""
        running = self.replicas.get("RUNNING", 0)
        if not running:
            return "no replica of it serves"
        # Of a version that could not start, none runs.
        which = " of the version before" if self.status == "DEPLOY_FAILED" else ""
        return f"{running} of its replicas{which} serve{'s' if running == 1 else ''}"


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """`status` is Serve's: DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, NOT_STARTED."""

    status: str
    message: str
    deployments: list[DeploymentState]

    def with_problems(self) -> list[DeploymentState]:
        """Return the deployments of which Serve says what is wrong."""
        return [one for one in self.deployments if is_problem(one.status, one.message)]

    def problems(self) -> list[str]:
        """Return a line for each deployment with a problem, and what of it serves; or one for the
        application if none has."""
        problems = [
            f"{one.name}: {reason(one.message)} ({one.serving()})" for one in self.with_problems()
        ]
        if problems or not self.message or self.status in GOOD_STATUSES:
            return problems
        return [reason(self.message)]


class DeployRefusedError(Exception):
    """Serve did not take the configuration; the message has its reason."""


class DeployUnansweredError(Exception):
    """Serve did not say whether it took the configuration; the message says what to do."""


class ServeApi:
    """Methods raise httpx.HTTPError, but for `is_up` and `deploy`: a TransportError where nothing
    answers, an HTTPStatusError where the dashboard does without Serve behind it (503)."""

    def __init__(self, dashboard_port: int, token: str) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{dashboard_port}",
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            trust_env=False,  # no proxy stands between this machine and itself
        )

    def is_up(self) -> bool:
        try:
            return self._client.get(_PATH).status_code == 200
        except httpx.TransportError:
            return False

    def deploy(self, config: dict[str, Any], timeout_s: float = _DEPLOY_TIMEOUT_S) -> None:
        """Declare what should run; Serve makes it so in the background.

        Raises DeployRefusedError, also if Serve is not there, and DeployUnansweredError if it does
        not answer in `timeout_s`.
        """
        try:
            response = self._client.put(_PATH, json=config, timeout=timeout_s)
        except httpx.ReadTimeout as error:
            raise DeployUnansweredError(
                f"Serve did not answer to the configuration within {timeout_s:.0f} s, and may have"
                " taken it: see 'winnow status'"
            ) from error
        except httpx.TransportError as error:
            raise DeployRefusedError(
                f"Serve did not answer to the configuration ({error}): see 'winnow status', and run"
                " 'winnow up' again"
            ) from error
        if response.is_error:
            why = reason(response.text or response.reason_phrase)
            raise DeployRefusedError(f"Serve refused the configuration: {why}")

    def configurations(self) -> list[dict[str, Any]]:
        """Return the configuration of each application, as it was deployed."""
        answer = self._client.get(_PATH).raise_for_status().json()
        return [one["deployed_app_config"] for one in answer["applications"].values()]

    def application(self, name: str) -> ApplicationState:
        """Return an application's state; NOT_STARTED if Serve does not know it."""
        answer = self._client.get(_PATH).raise_for_status().json()
        found = answer["applications"].get(name)
        if found is None:
            return ApplicationState("NOT_STARTED", "", [])
        deployments = [_deployment(one) for one in found["deployments"].values()]
        return ApplicationState(found["status"], found["message"], deployments)


def _deployment(raw: dict[str, Any]) -> DeploymentState:
    replicas: dict[str, int] = {}
    for replica in raw["replicas"]:
        replicas[replica["state"]] = replicas.get(replica["state"], 0) + 1
    running = [one for one in raw["replicas"] if one["state"] == "RUNNING"]
    return DeploymentState(
        raw["name"],
        raw["status"],
        raw["message"],
        replicas,
        raw["target_num_replicas"],
        tuple(one["pid"] for one in running if one["pid"]),
        tuple(one["node_id"] for one in running if one["node_id"]),
        tuple(
            ReplicaState(one["replica_id"], one["state"], one.get("node_ip") or "")
            for one in raw["replicas"]
        ),
    )
