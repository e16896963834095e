"""What Serve says of a failure: whether it is one, and the reason in one line. Knows no Ray."""

import re

# Serve's, of deployments and applications. While replicas are added or taken away, others serve.
GOOD_STATUSES = ("HEALTHY", "RUNNING", "UPSCALING", "DOWNSCALING")
_EXCEPTION = re.compile(r"^[A-Za-z_][\w.]*: ", re.MULTILINE)
_PYDANTICS_LINK = "For further information visit"


def reason(message: str) -> str:
    """Return the last exception of a traceback in one line, or all of another text."""
    lines = [line for line in message.splitlines() if _PYDANTICS_LINK not in line and line.strip()]
    text = "\n".join(lines)
    exceptions = [found.start() for found in _EXCEPTION.finditer(text)]
    start = exceptions[-1] if exceptions else 0
    return " ".join(text[start:].split())
