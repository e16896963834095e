"""A Grafana server, through the `grafana-api` package, and what its refusals mean.

The package (1.0.3) has calls for folders, data sources by name and dashboards. It knows neither the
provisioning API of alert rules nor uids of data sources: those go through its general client, which
sends any path under /api. The only module that knows the package.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import requests
from grafana_api.grafana_api import GrafanaClientError, GrafanaException
from grafana_api.grafana_face import GrafanaFace

from cluster.grafana.errors import GrafanaError

Json = dict[str, Any]

# The first whose dashboards are of the schema that ours are written in.
_OLDEST = (10, 1)
_TIMEOUT_S = 15.0


class GrafanaServer:
    """`url` is that of Grafana's start page. Raises GrafanaError from every method."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GrafanaError(
                f"'{url}' is no URL of a Grafana: write it as https://grafana.example.com"
            )
        prefix = parts.path.strip("/")
        self._url = url
        self._face = GrafanaFace(
            auth=token,
            host=f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname,
            port=parts.port,
            protocol=parts.scheme,
            url_path_prefix=f"{prefix}/" if prefix else "",
            timeout=_TIMEOUT_S,
        )

    def check(self) -> None:
        """Raise GrafanaError unless a Grafana that is new enough answers at the URL."""
        health = self._find("its health", lambda: self._face.api.GET("/health"))
        if not isinstance(health, dict) or "database" not in health:
            raise self._no_grafana()
        version = health.get("version")  # a Grafana may be told to hide it
        if version and _numbers(version) < _OLDEST:
            oldest = ".".join(map(str, _OLDEST))
            raise GrafanaError(
                f"the Grafana at {self._url} is {version}: the dashboards need {oldest} or later"
            )

    def folder(self, uid: str) -> Json | None:
        return self._find("folders", lambda: self._face.folder.get_folder(uid))

    def create_folder(self, uid: str, title: str) -> None:
        self._ask("folders", lambda: self._face.folder.create_folder(title, uid))

    def rename_folder(self, uid: str, title: str, version: int) -> None:
        self._ask("folders", lambda: self._face.folder.update_folder(uid, title, version))

    def data_source(self, uid: str) -> Json | None:
        return self._find("data sources", lambda: self._face.api.GET(f"/datasources/uid/{uid}"))

    def create_data_source(self, source: Json) -> None:
        self._ask("data sources", lambda: self._face.datasource.create_datasource(source))

    def replace_data_source(self, uid: str, source: Json) -> None:
        self._ask(
            "data sources", lambda: self._face.api.PUT(f"/datasources/uid/{uid}", json=source)
        )

    def dashboard(self, uid: str) -> Json | None:
        """Its `dashboard` and `meta`."""
        return self._find("dashboards", lambda: self._face.dashboard.get_dashboard(uid))

    def save_dashboard(self, dashboard: Json, folder_uid: str) -> None:
        """Create it, or replace the version that it names."""
        body = {"dashboard": dashboard, "folderUid": folder_uid, "message": "winnow grafana apply"}
        self._ask("dashboards", lambda: self._face.dashboard.update_dashboard(body))

    def rule_group(self, folder_uid: str, name: str) -> Json | None:
        return self._find("alert rules", lambda: self._face.api.GET(_group(folder_uid, name)))

    def save_rule_group(self, group: Json) -> None:
        path = _group(group["folderUid"], group["title"])
        self._ask("alert rules", lambda: self._face.api.PUT(path, json=group))

    def _find(self, what: str, call: Callable[[], Any]) -> Json | None:
        """The answer, or None where Grafana says that there is none."""
        try:
            found: Json | None = self._ask(what, call)
        except GrafanaError as error:
            cause = error.__cause__
            if isinstance(cause, GrafanaClientError) and cause.status_code == 404:
                return None
            raise
        return found

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except GrafanaException as refusal:
            raise GrafanaError(self._explain(what, refusal)) from refusal
        except requests.JSONDecodeError as answer:
            raise self._no_grafana() from answer
        except TypeError as answer:  # the package looks for a message in what is no JSON
            raise self._no_grafana() from answer
        except requests.RequestException as failure:
            raise GrafanaError(
                f"no Grafana answers at {self._url} ({_reason(failure)}): check the URL"
            ) from failure

    def _no_grafana(self) -> GrafanaError:
        return GrafanaError(
            f"what answers at {self._url} is no Grafana: give the URL of its start page, with the"
            " path that it may be served under"
        )

    def _explain(self, what: str, refusal: GrafanaException) -> str:
        said = " ".join(str(_message(refusal)).split())
        match refusal.status_code:
            case 401:
                return f"Grafana refuses the token ({said}): give that of a service account"
            case 403:
                return (
                    f"the token may not read or write {what} ({said}): its service account needs"
                    f" the role {'Admin' if what == 'data sources' else 'Editor or Admin'}"
                )
            case 409 | 412:
                return f"Grafana has {what} that are in the way ({said}): look at them, try again"
            case code if code >= 500:
                return f"Grafana failed on {what} ({code}: {said}): look into its log"
            case code:
                return f"Grafana refuses our {what} ({code}: {said})"


def _group(folder_uid: str, name: str) -> str:
    return f"/v1/provisioning/folder/{folder_uid}/rule-groups/{name}"


def _message(refusal: GrafanaException) -> Any:
    """Grafana's own words."""
    response = refusal.response
    return response.get("message", "no reason") if isinstance(response, dict) else "no reason"


def _reason(failure: requests.RequestException) -> str:
    match failure:
        case requests.exceptions.SSLError():
            return "its certificate is not trusted"
        case requests.Timeout():
            return "no answer in time"
        case _:
            return "no connection"


def _numbers(version: str) -> tuple[int, ...]:
    """(10, 1) of `10.1.0-pre`; nothing of what is no version, which is older than any."""
    numbers = []
    for part in version.split("-")[0].split(".")[:2]:
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
