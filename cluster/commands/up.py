"""`winnow up`: start a cluster here, or bring the running one to another profile, and wait."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.status import Status

from cluster.client import WinnowClient
from cluster.commands.problems import problems
from cluster.commands.session import CommandError, open_console, open_serve, open_state
from cluster.config import AppConfig
from cluster.fit_check import check_fits, check_fits_machine, this_machine
from cluster.local.head import is_alive, start_head, stop
from cluster.local.ports import is_free
from cluster.local.serve_api import DeployRefusedError, ServeApi
from cluster.local.state import RunningCluster, State
from cluster.models.pull import default_cache, resolve
from cluster.node_groups import HEAD, ClusterSpec, load_cluster_spec
from cluster.preflight import Fault, answers, model_faults, place_faults
from cluster.profile import ProfileError, application, load_profile, localise

_POLL_S = 0.5
# The time that is left may be none, and Serve is asked all the same.
_LEAST_DEPLOY_S = 5.0


def up(
    profile: Annotated[str, typer.Option(help="A profile's name, or a file.")] = "local",
    port: Annotated[int | None, typer.Option(help="HTTP port; the profile's if not given.")] = None,
    nodes: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Let nodes of these groups come and go.",
        ),
    ] = None,
    timeout_s: Annotated[float, typer.Option(help="How long to wait until ready.")] = 600,
    redis: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of a Redis that keeps Ray's state."),
    ] = None,
) -> None:
    """Start the cluster here and wait until every stage is ready."""
    console = open_console()
    state = open_state()
    _prepare(state)
    config = load_profile(profile)
    spec = load_cluster_spec(nodes) if nodes else None
    _check_places(config, profile, state, redis)
    cache = default_cache()
    local = localise(config, state, lambda name: resolve(name, cache, console), port)
    _check(model_faults, local, profile)
    began = time.monotonic()
    with console.status("starting Ray") as spinner:
        cluster = _running_or_new(state, profile, local, port, spec, redis)
        serve = open_serve(state, cluster)
        deadline = began + timeout_s
        _wait_for_ray(serve, cluster, deadline, state)
        client = WinnowClient(cluster.url, state.api_key())
        waiting = _Waiting(console, spinner, deadline, cluster, state.head_log)
        try:
            serve.deploy(local, max(deadline - time.monotonic(), _LEAST_DEPLOY_S))
            _wait_until_ready(serve, application(local)["name"], client, waiting)
        except BaseException as error:  # Ctrl-C too
            # What a roll that fails leaves serving is the profile before it. `winnow down` may have
            # removed the record of a cluster that has stopped.
            if not isinstance(error, DeployRefusedError) and is_alive(cluster):
                state.record(cluster.model_copy(update={"failed_profile": profile}))
            raise
    state.record(cluster.model_copy(update={"profile": profile, "failed_profile": None}))
    console.print(f"ready in {time.monotonic() - began:.0f} s: {cluster.url}")


def _prepare(state: State) -> None:
    try:
        state.prepare()
    except OSError as error:
        raise CommandError(
            f"the state directory {state.directory}: {error.strerror}: name one that may be written"
            " to with WINNOW_STATE"
        ) from error


def _check_places(profile: dict[str, Any], name: str, state: State, redis: str | None) -> None:
    """Check what needs no models, which may have to be fetched first."""
    _check(place_faults, localise(profile, state, lambda model: model, None), name)
    if redis is not None:
        host, _, port = redis.rpartition(":")
        if not host or not port.isdecimal() or not answers(host, int(port)):
            raise CommandError(f"--redis: no Redis answers at '{redis}': write its HOST:PORT")


def _check(faults_of: Callable[[AppConfig], list[Fault]], local: dict[str, Any], name: str) -> None:
    app = application(local)
    faults = faults_of(AppConfig.model_validate(app["args"]))
    if faults:
        file = name if Path(name).is_file() else f"{name}.yaml"
        where = f"{Path(file).name}: applications.{app['name']}.args"
        raise ProfileError("\n".join(f"{where}.{field}: {fault}" for field, fault in faults))


def _running_or_new(
    state: State,
    profile: str,
    local: dict[str, Any],
    port: int | None,
    nodes: ClusterSpec | None,
    redis: str | None,
) -> RunningCluster:
    http_port = local["http_options"]["port"]
    cluster = state.running()
    if cluster is not None and is_alive(cluster):
        # Serve fixes its HTTP port when it starts.
        if port not in (None, cluster.http_port):
            raise CommandError(
                f"a cluster is running here on port {cluster.http_port}:"
                " 'winnow down' stops it, to be started on another"
            )
        if nodes or redis:
            option = "--nodes" if nodes else "--redis"
            raise CommandError(
                f"a cluster is running here: 'winnow down' stops it, to be started with {option}"
            )
        local["http_options"]["port"] = cluster.http_port
        return cluster
    if cluster is not None:
        stop(cluster)  # processes that a killed head left behind
    if not is_free(http_port):
        raise CommandError(
            f"port {http_port} is taken: stop what listens there, or choose another with --port"
        )
    deployments = application(local)["deployments"]
    if nodes is None:
        check_fits_machine(deployments, this_machine())
    else:
        check_fits(deployments, [HEAD, *nodes.groups])
    return start_head(state, profile, http_port, nodes, redis)


def _wait_for_ray(serve: ServeApi, cluster: RunningCluster, deadline: float, state: State) -> None:
    while not serve.is_up():
        if not is_alive(cluster):
            raise CommandError(f"Ray did not start: see {state.head_log}")
        _pause(deadline, "Ray's dashboard")


class _Waiting:
    """Shows what is waited for, and each new reason for it once."""

    def __init__(
        self,
        console: Console,
        spinner: Status,
        deadline: float,
        cluster: RunningCluster,
        head_log: Path,
    ) -> None:
        self._console = console
        self._spinner = spinner
        self._deadline = deadline
        self._cluster = cluster
        self._head_log = head_log
        self._shown: set[str] = set()

    def pause(self, waiting: Sequence[str], problems: Sequence[str]) -> None:
        """Raises CommandError when time is up, or the cluster has stopped."""
        if not is_alive(self._cluster):
            raise CommandError(f"the cluster has stopped meanwhile: see {self._head_log}")
        names = ", ".join(waiting) or "Serve"
        self._spinner.update(f"waiting for {names}")
        for problem in problems:
            if problem not in self._shown:
                self._console.print(problem, style="yellow")
            self._shown.add(problem)
        _pause(self._deadline, "\n".join(problems) or names)


def _wait_until_ready(serve: ServeApi, name: str, client: WinnowClient, waiting: _Waiting) -> None:
    while True:
        try:
            deployed = serve.application(name)
        except httpx.HTTPError:
            waiting.pause(["Ray's dashboard"], [])
            continue
        if deployed.status == "DEPLOY_FAILED":
            why = "\n".join(problems(deployed, client.readiness()))
            raise CommandError(f"the deployment failed: {why}")
        names = [d.name for d in deployed.deployments if d.status != "HEALTHY"]
        readiness = None
        if deployed.status == "RUNNING" and not names:
            readiness = client.readiness()
            if readiness and readiness["ready"]:
                return
            names = _unready(readiness)
        waiting.pause(names, problems(deployed, readiness))


def _unready(readiness: dict[str, Any] | None) -> list[str]:
    if readiness is None:
        return ["HTTP"]
    return [name for name, stage in readiness["stages"].items() if not stage["ready"]]


def _pause(deadline: float, waiting: str) -> None:
    if time.monotonic() > deadline:
        raise CommandError(f"gave up waiting for {waiting}; 'winnow status' shows more")
    time.sleep(_POLL_S)
