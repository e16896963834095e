"""Ray Serve's REST interface: what is deployed, and how it is doing."""

from dataclasses import dataclass
from typing import Any

import httpx

_PATH = "/api/serve/applications/"
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """`replicas` counts them by state; `pids` are those of the running ones, `nodes` the ids of the
    nodes they are on."""

    name: str
    status: str
    message: str
    replicas: dict[str, int]
    wanted: int
    pids: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplicationState:
    """`status` is Serve's: DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, NOT_STARTED."""

    status: str
    message: str
    deployments: list[DeploymentState]


class DeployRefusedError(Exception):
    """Serve did not take the configuration; the message is the last line it gave."""


class ServeApi:
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

    def deploy(self, config: dict[str, Any]) -> None:
        """Declare what should run; Serve makes it so in the background.

        Raises DeployRefusedError.
        """
        response = self._client.put(_PATH, json=config)
        if response.is_error:
            [*_, last] = [response.reason_phrase, *response.text.strip().splitlines()]
            raise DeployRefusedError(f"Serve refused the configuration: {last}")

    def configurations(self) -> list[dict[str, Any]]:
        """What was deployed, an entry an application."""
        answer = self._client.get(_PATH).raise_for_status().json()
        return [one["deployed_app_config"] for one in answer["applications"].values()]

    def application(self, name: str) -> ApplicationState:
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
    )
