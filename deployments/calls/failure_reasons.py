"""What Serve says of a failure: whether it is one, and the reason in one line. Knows no Ray."""

import re

# Serve's, of deployments and applications. While replicas are added or taken away, others serve.
_SCALING = ("UPSCALING", "DOWNSCALING")
GOOD_STATUSES = ("HEALTHY", "RUNNING", *_SCALING)
# Serve's words (Ray 2.60) of a replica that does not come, with which no status need go.
_DOES_NOT_COME = re.compile(r"^A replica failed to start|taken more than \d+s to be scheduled")
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*: ", re.MULTILINE)
_PYDANTICS_LINK = "For further information visit"


def is_problem(status: str, message: str) -> bool:
    """Return whether Serve's message of a deployment says what is wrong with it.

    While the deployment scales, it mostly says that it does. One that is healthy keeps the message
    of what has passed.
    """
    if status in _SCALING:
        return bool(_DOES_NOT_COME.search(message))
    return bool(message) and status not in GOOD_STATUSES


def reason(message: str) -> str:
    """Return the last exception of a traceback in one line, or all of another text."""
    lines = [line for line in message.splitlines() if _PYDANTICS_LINK not in line and line.strip()]
    text = "\n".join(lines)
    exceptions = [found.start() for found in _EXCEPTION.finditer(text)]
    start = exceptions[-1] if exceptions else 0
    return " ".join(text[start:].split())
