"""The end of a process with the one that started it. Knows nothing of what either does."""

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Have the system end this process with its parent, at once and whatever it computes.

    The parent ends, in this sense, with the thread that started this process. A parent that was
    gone before the call, or a system that is not Linux, is not seen here: a process that calls this
    must also end by itself at the end of what it reads from its parent.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
