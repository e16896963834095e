"""`winnow down`: stop the cluster here to its last process; its state stays."""

from cluster.commands.session import open_console, open_state
from cluster.local.head import stop


def down() -> None:
    """Stop the cluster here. Documents and keys stay where they are."""
    console = open_console()
    state = open_state()
    cluster = state.running()
    if cluster is None:
        console.print("no cluster is running here")
        return
    with console.status("stopping"):
        stopped = stop(cluster)
    state.forget()
    console.print(f"stopped {stopped} processes")
