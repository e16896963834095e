"""The state directory of a local cluster, `.winnow` by default.

api_key        the first tenant's key, readable by its owner alone
keys.json      its hash, which the Router's tenant store imports
control/       tenants, keys, usage and rate limits
ray_token      the token of Ray's own ports
cluster.json   ports and head process of the running cluster; absent without one
index/         the embedded index: the documents
logs/          the output of the head process
"""

import secrets
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from deployments.request.private_file import write_private
from deployments.tenants.api_keys import new_key, write_keys

_FIRST_TENANT = "default"


class RunningCluster(BaseModel):
    """A running cluster; each of its processes has `cluster_id` in its environment.

    `failed_profile` is one that it was to be brought to, if that failed; it serves `profile` as far
    as replicas of it run.
    """

    model_config = ConfigDict(extra="forbid")

    cluster_id: str
    head_pid: int
    profile: str
    http_port: int
    dashboard_port: int
    session_directory: str
    failed_profile: str | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"


class State:
    """The files of one local cluster; any number of commands may open it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.api_key_file = self.directory / "api_key"
        self.keys_file = self.directory / "keys.json"
        self.ray_token_file = self.directory / "ray_token"
        self.head_log = self.directory / "logs" / "head.log"
        self._cluster_file = self.directory / "cluster.json"

    def prepare(self) -> None:
        """Make the directory, the first tenant's key and Ray's token, if they are missing."""
        self.head_log.parent.mkdir(parents=True, exist_ok=True)
        if not self.keys_file.exists():
            key, record = new_key(_FIRST_TENANT)
            write_private(self.api_key_file, key.encode())
            write_keys(self.keys_file, [record])
        if not self.ray_token_file.exists():
            write_private(self.ray_token_file, secrets.token_hex(32).encode())

    def api_key(self) -> str:
        return self.api_key_file.read_text().strip()

    def ray_token(self) -> str:
        return self.ray_token_file.read_text().strip()

    def running(self) -> RunningCluster | None:
        """Return the recorded cluster; its processes may have ended."""
        if not self._cluster_file.exists():
            return None
        return RunningCluster.model_validate_json(self._cluster_file.read_text())

    def record(self, cluster: RunningCluster) -> None:
        write_private(self._cluster_file, cluster.model_dump_json(indent=1).encode())

    def forget(self) -> None:
        self._cluster_file.unlink(missing_ok=True)
