"""`winnow grafana`: what it puts in place, that it does so once, and how it says what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cluster.__main__ import app
from cluster.grafana.changes import FOLDER, SOURCE
from cluster.grafana.dashboards import DASHBOARDS
from cluster.grafana.errors import GrafanaError
from cluster.grafana.rule_files import alerts
from cluster.local.ports import free_ports
from tests.unit.cluster.grafana.stand_in import TOKEN, Grafana, serving

_PROMETHEUS = "http://prometheus:9090"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("WINNOW_GRAFANA_TOKEN", TOKEN)
    monkeypatch.delenv("WINNOW_GRAFANA_TOKEN_FILE", raising=False)


@pytest.fixture
def grafana() -> Grafana:
    return Grafana()


@pytest.fixture
def url(grafana: Grafana) -> Iterator[str]:
    with serving(grafana.answer) as url:
        yield url


def run(verb: str, url: str, *more: str, prometheus: str = _PROMETHEUS) -> Result:
    arguments = ["grafana", verb, "--url", url, "--prometheus", prometheus, *more]
    return CliRunner().invoke(app, arguments)


def refusal(verb: str, url: str) -> str:
    result = run(verb, url)
    assert isinstance(result.exception, GrafanaError), result.output
    message = str(result.exception)
    assert "\n" not in message
    assert TOKEN not in message + result.output
    return message


def test_all_is_put_in_place_once(grafana: Grafana, url: str) -> None:
    first = run("apply", url)
    assert first.exit_code == 0, first.output
    assert first.output.count("create ") == 3 + len(DASHBOARDS)
    assert grafana.folders[FOLDER]["title"] == "Winnow"
    assert grafana.sources[SOURCE]["url"] == _PROMETHEUS
    assert set(grafana.dashboards) == {one.uid for one in DASHBOARDS}
    assert {one["meta"]["folderUid"] for one in grafana.dashboards.values()} == {FOLDER}
    [group] = grafana.groups.values()
    assert [rule["title"] for rule in group["rules"]] == [alert["alert"] for alert in alerts()]

    grafana.writes.clear()
    second = run("apply", url)
    assert (second.exit_code, second.output) == (0, "nothing to change\n")
    assert grafana.writes == []
    assert run("diff", url).exit_code == 0


def test_diff_tells_what_apply_would_do_and_changes_nothing(grafana: Grafana, url: str) -> None:
    before = run("diff", url)
    assert before.exit_code == 1
    assert before.output.count("create ") == 3 + len(DASHBOARDS)
    assert "+      " in before.output
    assert grafana.writes == []


def test_what_was_changed_by_hand_is_shown_and_put_back(grafana: Grafana, url: str) -> None:
    run("apply", url)
    grafana.folders[FOLDER]["title"] = "Mine"
    board = grafana.dashboards["winnow-service"]["dashboard"]
    board["panels"][0]["title"] = "Renamed"
    board["version"] += 3
    grafana.dashboards["winnow-tenants"]["meta"]["folderUid"] = ""
    [group] = grafana.groups.values()
    uids = [rule["uid"] for rule in group["rules"]]
    group["rules"][1]["for"] = "1h"
    grafana.sources[SOURCE] |= {"isDefault": True, "jsonData": {"tlsAuth": True}}

    shown = run("diff", url, prometheus="http://another:9090")
    assert shown.exit_code == 1
    for line in ("Mine", "Renamed", '"for": "1h"', '-  "url": "http://prometheus:9090"'):
        assert line in shown.output
    names = [line for line in shown.output.splitlines() if line.startswith("update ")]
    assert names == [
        "update folder winnow",
        "update data source winnow-prometheus",
        "update dashboard winnow-service",
        "update dashboard winnow-tenants",
        "update alert rules winnow-alerts",
    ]

    grafana.writes.clear()
    assert run("apply", url, prometheus="http://another:9090").exit_code == 0
    assert len(grafana.writes) == 5
    assert run("diff", url, prometheus="http://another:9090").exit_code == 0
    [group] = grafana.groups.values()
    assert [rule["uid"] for rule in group["rules"]] == uids, "a rule keeps its history"
    source = grafana.sources[SOURCE]
    assert (source["isDefault"], source["jsonData"]["tlsAuth"]) == (True, True)


def test_how_grafana_signs_in_at_a_data_source_stays(grafana: Grafana, url: str) -> None:
    run("apply", url)
    by_hand = {"user": "ops", "basicAuth": True, "basicAuthUser": "ops", "withCredentials": True}
    of_server = {"orgId": 7, "typeLogoUrl": "logo.svg", "secureJsonFields": {"password": True}}
    grafana.sources[SOURCE] |= by_hand | of_server
    assert run("apply", url, prometheus="http://another:9090").exit_code == 0
    source = grafana.sources[SOURCE]
    assert source["url"] == "http://another:9090"
    assert {name: source.get(name) for name in by_hand} == by_hand
    assert not of_server.keys() & source.keys(), "the stand-in keeps what it is given, and no more"


def test_a_panel_and_a_rule_added_by_hand_are_a_difference(grafana: Grafana, url: str) -> None:
    run("apply", url)
    grafana.dashboards["winnow-engines"]["dashboard"]["links"] = [{"title": "wiki"}]
    [group] = grafana.groups.values()
    group["rules"].append(group["rules"][0] | {"title": "Mine", "uid": "mine"})
    assert "wiki" in run("diff", url).output
    run("apply", url)
    assert len(grafana.groups[FOLDER, "winnow-alerts"]["rules"]) == len(alerts())


def test_a_grafana_under_a_path_and_a_token_in_a_file(
    grafana: Grafana, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WINNOW_GRAFANA_TOKEN")
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    def under_path(method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        assert path.startswith("/grafana/")
        return grafana.answer(method, path.removeprefix("/grafana"), token, body)

    with serving(under_path) as url:
        done = run("apply", f"{url}/grafana/", "--token-file", str(tmp_path / "token"))
    assert done.exit_code == 0, done.output
    assert FOLDER in grafana.folders


def test_no_token_is_said_before_anything_is_asked(
    grafana: Grafana, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_GRAFANA_TOKEN", " ")
    assert "set WINNOW_GRAFANA_TOKEN" in str(run("apply", url).exception)
    missing = run("apply", url, "--token-file", "/nowhere")
    assert "cannot be read" in str(missing.exception)
    assert grafana.writes == []


def test_a_wrong_token(grafana: Grafana, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_GRAFANA_TOKEN", "glsa_another")
    message = refusal("apply", url)
    assert "refuses the token (Invalid API key)" in message
    assert "glsa_another" not in message
    assert grafana.writes == []


@pytest.mark.parametrize(
    ("part", "what", "role"),
    [
        ("folders", "folders", "Editor"),
        ("datasources", "data sources", "Admin"),
        ("dashboards", "dashboards", "Editor"),
        ("v1", "alert rules", "Editor"),
    ],
)
def test_a_missing_permission(grafana: Grafana, url: str, part: str, what: str, role: str) -> None:
    grafana.forbidden.add(part)
    message = refusal("apply", url)
    assert f"may not read or write {what}" in message
    assert f"the role {role}" in message
    assert grafana.writes == [], "what is missing shows before anything is changed"


def test_an_old_grafana_and_one_that_hides_its_version(grafana: Grafana, url: str) -> None:
    grafana.version = "9.5.21"
    assert "is 9.5.21: the dashboards need 10.1 or later" in refusal("diff", url)
    for version in (None, "10.1.0-pre", "12.0.1"):
        grafana.version = version
        assert run("diff", url).exit_code == 1


def test_a_url_where_nobody_listens_and_one_that_is_none() -> None:
    [port] = free_ports(1)
    message = refusal("apply", f"http://127.0.0.1:{port}")
    assert "no Grafana answers" in message
    assert "check the URL" in message
    assert "is no URL of a Grafana" in refusal("apply", "grafana.example.com")


@pytest.mark.parametrize(
    ("code", "page"),
    [
        (200, "<html>some other message</html>"),
        (404, "<html>no such page, and a message</html>"),
        (404, {"error": "no such page"}),
        (200, {"status": "up"}),
        (200, [1]),
    ],
)
def test_what_answers_is_no_grafana(code: int, page: Any) -> None:
    with serving(lambda *_: (code, page)) as url:
        assert "is no Grafana: give the URL of its start page" in refusal("apply", url)


def test_a_name_that_is_taken(grafana: Grafana, url: str) -> None:
    grafana.sources["other"] = {"name": "Winnow Prometheus", "uid": "other", "version": 1}
    message = refusal("apply", url)
    assert "data sources that are in the way" in message
    assert "data source with the same name already exists" in message
    del grafana.sources["other"]
    assert run("apply", url).exit_code == 0, (
        "what was done before the refusal stays, the rest follows"
    )

    grafana.folders["other"] = {"title": "Winnow", "uid": "other", "version": 1}
    del grafana.folders[FOLDER]
    assert "a folder with the same name already exists" in refusal("apply", url)


def test_a_dashboard_that_somebody_saves_meanwhile(grafana: Grafana) -> None:
    def racing(method: str, path: str, token: str | None, body: bytes) -> tuple[int, Any]:
        if method == "POST" and path == "/api/dashboards/db":
            uid = json.loads(body)["dashboard"]["uid"]
            grafana.dashboards[uid]["dashboard"]["version"] += 1
        return grafana.answer(method, path, token, body)

    with serving(grafana.answer) as url:
        run("apply", url)
    grafana.dashboards["winnow-service"]["dashboard"]["title"] = "Renamed"
    with serving(racing) as url:
        message = refusal("apply", url)
    assert "has been changed by someone else" in message
    assert grafana.dashboards["winnow-service"]["dashboard"]["title"] == "Renamed"


def test_a_url_of_prometheus_that_grafana_refuses(url: str) -> None:
    result = run("apply", url, prometheus="prometheus:9090")
    assert "Grafana refuses our data sources (400: Validation error, invalid URL)" in str(
        result.exception
    )


def test_a_grafana_that_fails(grafana: Grafana, url: str) -> None:
    grafana.failing = True
    assert "Grafana failed on folders (500: database is locked)" in refusal("apply", url)
