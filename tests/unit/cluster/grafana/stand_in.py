"""A stand-in for a Grafana server, over real HTTP: the part of its API that Winnow uses, with the
refusals that its documentation lists, and bodies checked as it says.

No Grafana server comes from a package registry.
"""

import copy
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]

TOKEN = "glsa_of-the-stand-in"
_UID = r"^[a-zA-Z0-9_-]{1,40}$"
_DURATION = r"^\d+[smhdw]$"


class Refused(Exception):
    def __init__(self, code: int, message: str, status: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.body: Json = {"message": message} | ({"status": status} if status else {})


@dataclass
class Grafana:
    """Its state. `forbidden` are the first parts of paths that the token has no permission for;
    `writes` are the methods and paths of all requests that changed something."""

    version: str | None = "10.4.2"
    forbidden: set[str] = field(default_factory=set)
    failing: bool = False
    folders: dict[str, Json] = field(default_factory=dict)
    sources: dict[str, Json] = field(default_factory=dict)
    dashboards: dict[str, Json] = field(default_factory=dict)
    groups: dict[tuple[str, str], Json] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)
    _last_id: int = 0

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        try:
            return self._route(method, path, token, body)
        except Refused as refused:
            return refused.code, refused.body

    def _route(self, method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        if (method, path) == ("GET", "/api/health"):
            return 200, {"database": "ok"} | ({"version": self.version} if self.version else {})
        if self.failing:
            raise Refused(500, "database is locked")
        if token != f"Bearer {TOKEN}":
            raise Refused(401, "Invalid API key")
        for pattern, handlers in _ROUTES:
            if match := re.fullmatch(pattern, path):
                if method not in handlers:
                    break
                if path.split("/")[2] in self.forbidden:
                    raise Refused(403, "You'll need additional permissions to perform this action")
                given = self._parsed(body) if method in ("POST", "PUT") else None
                arguments = [*match.groups(), *([given] if given is not None else [])]
                answer = handlers[method](self, *arguments)
                if given is not None:
                    self.writes.append(f"{method} {path}")
                return 200, copy.deepcopy(answer)
        raise Refused(404, "Not found")

    def _parsed(self, body: bytes) -> Json:
        try:
            given = json.loads(body)
        except ValueError:
            raise Refused(400, "bad request data") from None
        if not isinstance(given, dict):
            raise Refused(400, "bad request data")
        return given

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def get_folder(self, uid: str) -> Json:
        if uid not in self.folders:
            raise Refused(404, "folder not found", "not-found")
        return self.folders[uid]

    def create_folder(self, given: Json) -> Json:
        _require(given, {"title": str}, {"uid": str})
        if not given["title"]:
            raise Refused(400, "folder title cannot be empty")
        if given["uid"] in self.folders:
            raise Refused(409, "a folder with the same uid already exists")
        if any(one["title"] == given["title"] for one in self.folders.values()):
            raise Refused(409, "a folder with the same name already exists in the current location")
        self.folders[given["uid"]] = given | {"id": self._next_id(), "version": 1}
        return self.folders[given["uid"]]

    def update_folder(self, uid: str, given: Json) -> Json:
        _require(given, {"title": str}, {"version": int, "overwrite": bool})
        folder = self.get_folder(uid)
        if given.get("version") != folder["version"] and not given.get("overwrite"):
            raise Refused(412, "the folder has been changed by someone else", "version-mismatch")
        folder |= {"title": given["title"], "version": folder["version"] + 1}
        return folder

    def get_source(self, uid: str) -> Json:
        if uid not in self.sources:
            raise Refused(404, "Data source not found")
        return self.sources[uid]

    def create_source(self, given: Json) -> Json:
        self._check_source(given)
        if given["uid"] in self.sources:
            raise Refused(409, "data source with the same uid already exists")
        self._save_source(given, 1)
        return {"datasource": self.sources[given["uid"]], "message": "Datasource added"}

    def replace_source(self, uid: str, given: Json) -> Json:
        self._check_source(given)
        version = self.get_source(uid)["version"] + 1
        self._save_source(given, version)
        return {"datasource": self.sources[uid], "message": "Datasource updated"}

    def _save_source(self, given: Json, version: int) -> None:
        defaults = {"isDefault": False, "basicAuth": False, "readOnly": False}
        ours = {"id": self._next_id(), "version": version}
        self.sources[given["uid"]] = defaults | given | ours

    def _check_source(self, given: Json) -> None:
        _require(given, {"name": str, "type": str, "access": str}, {"uid": str, "url": str})
        if given["access"] not in ("proxy", "direct"):
            raise Refused(400, "bad request data")
        if given.get("url") and not re.match(r"^https?://[^/]", given["url"]):
            raise Refused(400, "Validation error, invalid URL")
        for uid, other in self.sources.items():
            if other["name"] == given["name"] and uid != given.get("uid"):
                raise Refused(409, "data source with the same name already exists")

    def get_dashboard(self, uid: str) -> Json:
        if uid not in self.dashboards:
            raise Refused(404, "Dashboard not found")
        return self.dashboards[uid]

    def save_dashboard(self, given: Json) -> Json:
        _require(given, {"dashboard": dict}, {"folderUid": str, "message": str, "overwrite": bool})
        dashboard = given["dashboard"]
        self._check_dashboard(dashboard, given)
        there = self.dashboards.get(dashboard["uid"])
        now = there["dashboard"]["version"] if there else None
        if there and not given.get("overwrite") and dashboard.get("version") != now:
            raise Refused(412, "The dashboard has been changed by someone else", "version-mismatch")
        version = there["dashboard"]["version"] + 1 if there else 1
        id = there["dashboard"]["id"] if there else self._next_id()
        self.dashboards[dashboard["uid"]] = {
            "dashboard": dashboard | {"id": id, "version": version},
            "meta": {"folderUid": given.get("folderUid", ""), "version": version, "canSave": True},
        }
        return {"id": id, "uid": dashboard["uid"], "status": "success", "version": version}

    def _check_dashboard(self, dashboard: Json, given: Json) -> None:
        if not dashboard.get("title"):
            raise Refused(400, "Dashboard title cannot be empty", "empty-name")
        if not re.match(_UID, dashboard.get("uid", "")):
            raise Refused(400, "uid contains illegal characters")
        folder = given.get("folderUid", "")
        if folder and folder not in self.folders:
            raise Refused(404, "folder not found", "not-found")
        if dashboard.get("id") and dashboard["uid"] not in self.dashboards:
            raise Refused(404, "Dashboard not found", "not-found")
        for uid, other in self.dashboards.items():
            same = other["dashboard"]["title"] == dashboard["title"]
            if same and other["meta"]["folderUid"] == folder and uid != dashboard["uid"]:
                raise Refused(
                    412,
                    "A dashboard with the same name in the folder already exists",
                    "name-exists",
                )

    def get_group(self, folder: str, name: str) -> Json:
        if (folder, name) not in self.groups:
            raise Refused(404, "rule group not found")
        return self.groups[folder, name]

    def save_group(self, folder: str, name: str, given: Json) -> Json:
        _require(given, {"title": str, "folderUid": str, "interval": int, "rules": list}, {})
        if folder not in self.folders:
            raise Refused(400, "folder does not exist")
        if given["interval"] <= 0 or given["interval"] % 10:
            raise Refused(400, "interval must be a multiple of the base interval of 10s")
        known = {one["uid"] for one in self.groups.get((folder, name), {}).get("rules", [])}
        rules = [self._rule(rule, folder, name, known) for rule in given["rules"]]
        self.groups[folder, name] = {
            "title": name,
            "folderUid": folder,
            "interval": given["interval"],
            "rules": rules,
        }
        return self.groups[folder, name]

    def _rule(self, rule: Json, folder: str, group: str, known: set[str]) -> Json:
        texts = (
            "title",
            "condition",
            "ruleGroup",
            "folderUID",
            "noDataState",
            "execErrState",
            "for",
        )
        _require(
            rule,
            dict.fromkeys(texts, str) | {"orgID": int, "data": list},
            {"uid": str, "labels": dict, "annotations": dict, "isPaused": bool},
        )
        if "uid" in rule and rule["uid"] not in known:
            raise Refused(404, "could not find alert rule")
        refs = {node["refId"] for node in rule["data"]}
        if not rule["title"] or rule["condition"] not in refs:
            raise Refused(400, "invalid alert rule: condition does not exist")
        if rule["noDataState"] not in ("Alerting", "NoData", "OK", "KeepLast"):
            raise Refused(400, "invalid alert rule: unknown no data state")
        if rule["execErrState"] not in ("OK", "Alerting", "Error", "KeepLast"):
            raise Refused(400, "invalid alert rule: unknown execution error state")
        if not re.match(_DURATION, rule["for"]):
            raise Refused(400, "bad request data")
        nodes = [self._node(node) for node in rule["data"]]
        uid = rule.get("uid") or f"made-{self._next_id()}"
        ours = {"id": self._next_id(), "uid": uid, "orgID": 7, "folderUID": folder}
        return rule | ours | {"ruleGroup": group, "provenance": "api", "data": nodes}

    def _node(self, node: Json) -> Json:
        _require(
            node,
            {"refId": str, "datasourceUid": str, "relativeTimeRange": dict, "model": dict},
            {"queryType": str},
        )
        if node["datasourceUid"] not in {"__expr__", *self.sources}:
            raise Refused(400, "invalid alert rule: data source not found")
        defaults = {"intervalMs": 1000, "maxDataPoints": 43200}
        return node | {"model": defaults | node["model"]}


def _require(given: Json, needed: dict[str, type], optional: dict[str, type]) -> None:
    for name, kind in (needed | optional).items():
        if name not in given and name in optional:
            continue
        value = given.get(name)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise Refused(400, f"bad request data: {name}")


_GROUP_PATH = r"/api/v1/provisioning/folder/([^/]+)/rule-groups/([^/]+)"
_ROUTES: list[tuple[str, dict[str, Callable[..., Any]]]] = [
    (r"/api/folders", {"POST": Grafana.create_folder}),
    (r"/api/folders/([^/]+)", {"GET": Grafana.get_folder, "PUT": Grafana.update_folder}),
    (r"/api/datasources", {"POST": Grafana.create_source}),
    (r"/api/datasources/uid/([^/]+)", {"GET": Grafana.get_source, "PUT": Grafana.replace_source}),
    (r"/api/dashboards/db", {"POST": Grafana.save_dashboard}),
    (r"/api/dashboards/uid/([^/]+)", {"GET": Grafana.get_dashboard}),
    (_GROUP_PATH, {"GET": Grafana.get_group, "PUT": Grafana.save_group}),
]


@contextmanager
def serving(answer: Callable[[str, str, str | None, bytes], tuple[int, Any]]) -> Iterator[str]:
    """The URL at which `answer` is asked for each request: (method, path, authorization, body) to
    (status, JSON or, as text, HTML)."""

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            token = self.headers.get("authorization")
            code, given = answer(self.command, self.path, token, body)
            is_html = isinstance(given, str)
            data = (given if is_html else json.dumps(given)).encode()
            self.send_response(code)
            self.send_header("content-type", "text/html" if is_html else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815 # the library's names

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
