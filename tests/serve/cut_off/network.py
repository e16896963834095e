"""Hosts of one machine, each a network namespace with a cable to a common bridge."""

import subprocess
import uuid

_PREFIX = "10.213.77"
BRIDGE_ADDRESS = f"{_PREFIX}.1"


class NotAllowedError(Exception):
    """This machine lets no one make network namespaces, or lacks iproute2."""


class Network:
    """Raises NotAllowedError. Names are made up, so that none is in the way of another's."""

    def __init__(self, hosts: int) -> None:
        self._id = uuid.uuid4().hex[:6]
        self._bridge = f"w{self._id}"
        self._hosts = [f"w{self._id}-{number}" for number in range(hosts)]
        try:
            self._connect()
        except (OSError, subprocess.CalledProcessError) as refused:
            self.close()
            raise NotAllowedError(str(refused)) from refused

    def _connect(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{BRIDGE_ADDRESS}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for number, host in enumerate(self._hosts):
            cable, plug = self._cable(number), f"p{self._id}-{number}"
            _ip("netns", "add", host)
            _ip("link", "add", cable, "type", "veth", "peer", "name", plug)
            _ip("link", "set", cable, "master", self._bridge, "up")
            _ip("link", "set", plug, "netns", host)
            inside = ("-netns", host)
            _ip(*inside, "address", "add", f"{self.address(number)}/24", "dev", plug)
            _ip(*inside, "link", "set", plug, "up")
            _ip(*inside, "link", "set", "lo", "up")

    def address(self, number: int) -> str:
        return f"{_PREFIX}.{number + 2}"

    def command(self, number: int) -> list[str]:
        """Prefix of a command line: the command behind it runs on that host."""
        return ["ip", "netns", "exec", self._hosts[number]]

    def cut(self, number: int) -> None:
        _ip("link", "set", self._cable(number), "down")

    def mend(self, number: int) -> None:
        _ip("link", "set", self._cable(number), "up")

    def close(self) -> None:
        """Delete the cables, hosts and bridge that exist."""
        for number, host in enumerate(self._hosts):
            _ip("link", "delete", self._cable(number), check=False)
            _ip("netns", "delete", host, check=False)
        _ip("link", "delete", self._bridge, check=False)

    def _cable(self, number: int) -> str:
        return f"c{self._id}-{number}"


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
