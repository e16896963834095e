"""Ray Serve's REST API on this machine: what is deployed, and its status. Knows no profile."""

import re
from dataclasses import dataclass
from typing import Any

import httpx

_PATH = "/api/serve/applications/"
_TIMEOUT_S = 30.0
_GOOD = ("HEALTHY", "RUNNING")
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*: ", re.MULTILINE)
_PYDANTICS_LINK = "For further information visit"


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A deployment: replicas counted by state, and the number that Serve wants.

    `pids` are the process ids of the running replicas, `nodes` the ids of their nodes.
    """

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

    def problems(self) -> list[str]:
        """Return a line for each deployment with a problem, or for the application if none has."""
        problems = [
            f"{one.name}: {reason(one.message)}"
            for one in self.deployments
            if one.message and one.status not in _GOOD
        ]
        if problems or not self.message or self.status in _GOOD:
            return problems
        return [reason(self.message)]


class DeployRefusedError(Exception):
    """Serve did not take the configuration; the message has its reason."""


class ServeApi:
    """Methods raise httpx.HTTPError, but for `is_up`."""

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
            why = reason(f"{response.reason_phrase}\n{response.text}")
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


def reason(message: str) -> str:
    """Return the last exception of a traceback in one line, or the last line of another text."""
    lines = [line for line in message.splitlines() if _PYDANTICS_LINK not in line and line.strip()]
    text = "\n".join(lines)
    exceptions = [found.start() for found in _EXCEPTION.finditer(text)]
    start = exceptions[-1] if exceptions else text.rfind("\n") + 1
    return " ".join(text[start:].split())


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
