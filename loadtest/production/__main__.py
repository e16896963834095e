"""`python -m loadtest.production`: run `production-local` until Ctrl-C, with servers of its own.

A PostgreSQL and a Redis are started for it, and all of it is removed at the end.
"""

import signal
import sys
import tempfile
from pathlib import Path

from loadtest.production.cluster import ProductionCluster


def main() -> None:
    # As from Ctrl-C: the block below is left in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="w-production-", dir="/tmp") as directory:
        cluster = ProductionCluster(Path(directory))
        try:
            cluster.up()
            sys.stdout.write(
                f"export WINNOW_URL={cluster.running.url}\n"
                f"export WINNOW_API_KEY={cluster.state.api_key()}\n"
                f"export WINNOW_STATE={cluster.state.directory}\n"
                "Ctrl-C ends it and removes all it holds.\n"
            )
            sys.stdout.flush()
            signal.pause()
        except KeyboardInterrupt:
            sys.stderr.write("stopping\n")
        finally:
            cluster.down()


if __name__ == "__main__":
    main()
