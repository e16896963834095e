"""Changes that give a Grafana the folder, data source, dashboards and alerts.

Reads first and changes only what differs, so that it may be run again at any time.
"""

import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cluster.grafana.alert_rules import GROUP, rule_group
from cluster.grafana.dashboards import DASHBOARDS
from cluster.grafana.panels import to_json
from cluster.grafana.server import GrafanaServer, Json

FOLDER = "winnow"
_FOLDER_TITLE = "Winnow"
SOURCE = "winnow-prometheus"
_SOURCE_NAME = "Winnow Prometheus"
# What a server sets by itself.
_OF_SERVER = ("id", "version")
_OF_SOURCES_SERVER = (
    *_OF_SERVER,
    "orgId",
    "readOnly",
    "typeLogoUrl",
    "accessControl",
    "secureJsonFields",
)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to create or update; `lines` are a unified diff of the two."""

    name: str
    is_new: bool
    lines: tuple[str, ...]
    make: Callable[[], None]

    def __str__(self) -> str:
        return f"{'create' if self.is_new else 'update'} {self.name}"


def changes(server: GrafanaServer, prometheus_url: str) -> list[Change]:
    """All changes, in the order in which they can be made. Raises GrafanaError."""
    server.check()
    found = [_folder(server), _source(server, prometheus_url)]
    return [one for one in [*found, *_dashboards(server), _alerts(server)] if one is not None]


def _folder(server: GrafanaServer) -> Change | None:
    there = server.folder(FOLDER)
    wanted = {"uid": FOLDER, "title": _FOLDER_TITLE}

    def make() -> None:
        if there is None:
            server.create_folder(FOLDER, _FOLDER_TITLE)
        else:
            server.rename_folder(FOLDER, _FOLDER_TITLE, there["version"])

    return _change(f"folder {FOLDER}", there, wanted, make)


def _source(server: GrafanaServer, prometheus_url: str) -> Change | None:
    there = server.data_source(SOURCE)
    wanted: Json = {
        "uid": SOURCE,
        "name": _SOURCE_NAME,
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus_url,
        "jsonData": {"httpMethod": "POST"},
    }

    def make() -> None:
        if there is None:
            server.create_data_source(wanted)
        else:  # what was set by hand, such as a certificate, stays
            more = there.get("jsonData") or {}
            kept = {name: value for name, value in there.items() if name not in _OF_SOURCES_SERVER}
            server.replace_data_source(
                SOURCE, kept | wanted | {"jsonData": more | wanted["jsonData"]}
            )

    return _change(f"data source {SOURCE}", there, wanted, make)


def _dashboards(server: GrafanaServer) -> Iterator[Change | None]:
    for dashboard in DASHBOARDS:
        yield _dashboard(server, dashboard.uid, json.loads(to_json(dashboard)))


def _dashboard(server: GrafanaServer, uid: str, wanted: Json) -> Change | None:
    found = server.dashboard(uid)
    version: Json = {}
    there = None
    if found is not None:
        version = {name: found["dashboard"].get(name) for name in _OF_SERVER}
        stored = {k: v for k, v in found["dashboard"].items() if k not in _OF_SERVER}
        there = {"folder": found["meta"].get("folderUid", ""), "dashboard": stored}

    def make() -> None:
        server.save_dashboard(wanted | version, FOLDER)

    # Whatever else somebody has added to a dashboard is a difference too.
    return _change(
        f"dashboard {uid}", there, {"folder": FOLDER, "dashboard": wanted}, make, whole=True
    )


def _alerts(server: GrafanaServer) -> Change | None:
    there = server.rule_group(FOLDER, GROUP)
    wanted = rule_group(FOLDER, SOURCE)

    def make() -> None:
        server.save_rule_group(wanted | {"rules": _with_uids(wanted["rules"], there)})

    lasting = [{k: v for k, v in rule.items() if k != "orgID"} for rule in wanted["rules"]]
    return _change(f"alert rules {GROUP}", there, wanted | {"rules": lasting}, make)


def _with_uids(rules: list[Json], there: Json | None) -> list[Json]:
    """A rule keeps the uid under which Grafana has it, and with it its history and silences."""
    uids = {rule["title"]: rule["uid"] for rule in (there or {}).get("rules", [])}
    return [
        rule | ({"uid": uids[rule["title"]]} if rule["title"] in uids else {}) for rule in rules
    ]


def _change(
    name: str,
    there: Json | None,
    wanted: Json,
    make: Callable[[], None],
    *,
    whole: bool = False,
) -> Change | None:
    """None if nothing differs. Unless it is compared as a `whole`, only what `wanted` names
    counts."""
    seen = there if whole or there is None else _of_the_kind(there, wanted)
    if seen == wanted:
        return None
    before = _lines(seen) if seen is not None else []
    diff = difflib.unified_diff(before, _lines(wanted), "there", "wanted", n=1, lineterm="")
    return Change(name, there is None, tuple(diff), make)


def _of_the_kind(there: Any, wanted: Any) -> Any:
    """The part of `there` that `wanted` says something about; Grafana adds fields of its own."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return {k: _of_the_kind(there[k], v) for k, v in wanted.items() if k in there}
    if isinstance(wanted, list) and isinstance(there, list) and len(there) == len(wanted):
        return [_of_the_kind(a, b) for a, b in zip(there, wanted, strict=True)]
    return there


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=2, sort_keys=True).splitlines()
