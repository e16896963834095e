"""The nodes of a Ray cluster, read from its dashboard."""

from dataclasses import dataclass

import httpx

from cluster.node_groups import ROLE_LABEL

_PATH = "/api/v0/nodes"
_MOST = 10_000
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node: its group's `role` (None without a group), and the `gpus` Ray schedules on it."""

    id: str
    role: str | None
    gpus: float
    labels: dict[str, str]


class NodesApi:
    """Ray's dashboard API on this machine."""

    def __init__(self, dashboard_port: int, token: str) -> None:
        self._client = httpx.Client(
            base_url=f"http://127.0.0.1:{dashboard_port}",
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            trust_env=False,
        )

    def alive(self) -> list[Node]:
        """Return the live nodes, the head among them. Raises httpx.HTTPError."""
        answer = self._client.get(_PATH, params={"limit": _MOST}).raise_for_status().json()
        nodes = answer["data"]["result"]["result"]
        return [
            Node(
                node["node_id"],
                node["labels"].get(ROLE_LABEL),
                node["resources_total"].get("GPU", 0.0),
                node["labels"],
            )
            for node in nodes
            if node["state"] == "ALIVE"
        ]
