"""Serve's words of a failure: whether it is one, and the reason in one line. Knows no Ray."""

import re

# Serve's, of deployments and applications. While replicas are added or taken away, others serve.
_SCALING = ("UPSCALING", "DOWNSCALING")
GOOD_STATUSES = ("HEALTHY", "RUNNING", *_SCALING)
# Serve's words (Ray 2.60) of a replica that does not come, with which no status need go.
_FAILED_TO_START = re.compile(r"^A replica failed to start")
_NOT_SCHEDULED = re.compile(r"taken more than \d+s to be scheduled")
# As every large model does.
_TAKES_LONG = re.compile(r"taken more than \d+s to initialize")
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*: ", re.MULTILINE)
_PYDANTICS_LINK = "For further information visit"


def is_problem(status: str, message: str) -> bool:
    """Return whether Serve's message of a deployment says what is wrong with it.

    While the deployment scales, it mostly says that it does. One that is healthy keeps the message
    of what has passed. To take long to start is no problem.
    """
    if _TAKES_LONG.search(message):
        return False
    if status in _SCALING:
        return bool(_FAILED_TO_START.search(message) or _NOT_SCHEDULED.search(message))
    return bool(message) and status not in GOOD_STATUSES


def hides_failure(status: str, message: str, before: str) -> bool:
    """Return whether Serve wrote over the failed start, of which it told `before`, that the next
    one takes long."""
    hidden = _TAKES_LONG.search(message) and _FAILED_TO_START.search(before)
    return status != "HEALTHY" and bool(hidden)


def reason(message: str) -> str:
    """Return the last exception of a traceback in one line, or all of another text."""
    lines = [line for line in message.splitlines() if _PYDANTICS_LINK not in line and line.strip()]
    text = "\n".join(lines)
    exceptions = [found.start() for found in _EXCEPTION.finditer(text)]
    start = exceptions[-1] if exceptions else 0
    return " ".join(text[start:].split())
