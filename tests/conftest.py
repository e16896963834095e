"""How xdist's two workers share the tests (`-n 2 --dist loadgroup`, as in `make test`).

One takes all that share a cluster and `chaos`, which must not stand beside another cluster's start;
the other the quick tests, and then the clusters whose engines only keep time. Those are the last on
that side, so that they stand beside the tests that wait for nothing but answers.
"""

from pathlib import Path

import pytest

_SERVE = Path(__file__).parent / "serve"
_KEEP_TIME = ("autoscaler", "cut_off")


def pytest_configure(config: pytest.Config) -> None:
    # xdist would begin with the largest groups.
    config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("loadgroup", False):
        return
    for item in items:
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    # xdist hands them out in this order.
    turns = {"cluster": 0, None: 1, "nodes": 2}
    items.sort(key=lambda item: turns[_group(item)])


def _group(item: pytest.Item) -> str | None:
    if not item.path.is_relative_to(_SERVE):
        return None
    folder = item.path.relative_to(_SERVE).parts[0]
    return "nodes" if folder in _KEEP_TIME else "cluster"
