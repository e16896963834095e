"""Distribution of the tests over two xdist workers (`-n 2`, as in `make test`).

One worker runs `chaos` and the tests that share a cluster. The other runs the quick tests. Clusters
with engines that only keep time come last, each on the free worker. Beside them run tests that only
wait for answers: tests that measure time come first on the other worker.

Hypothesis draws the same examples in every run, so that runs can be compared.
`pytest --hypothesis-profile=default` draws others.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Nor is a test judged by how busy the machine is.
settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

_KEEP_TIME = ("tests/serve/autoscaler/", "tests/serve/cut_off/")
_ENGINES = "tests/engine/"
_TURNS = ("cluster", "quick", "nodes")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling  # only who runs in parallel needs it

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            turn = _turn(nodeid)
            module = nodeid.partition("::")[0]
            if turn == "nodes":
                return module.rpartition("/")[0]
            if module.startswith(_ENGINES):
                return module  # or both workers would start what a module's tests share
            return nodeid if turn == "quick" else turn

    config.option.loadscopereorder = False  # or the largest groups would be the first
    return Scheduling(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # a worker of xdist's
        items.sort(key=lambda item: _TURNS.index(_turn(item.nodeid)))


def _turn(nodeid: str) -> str:
    if nodeid.startswith(_KEEP_TIME):
        return "nodes"
    return "cluster" if nodeid.startswith("tests/serve/") else "quick"
