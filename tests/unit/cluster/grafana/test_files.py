"""The chart's dashboards and rules are those of the code, and every panel can be told apart."""

import json
import re
from pathlib import Path

import pytest
import yaml

from cluster.grafana.dashboards import DASHBOARDS
from cluster.grafana.files import files, write
from cluster.grafana.panels import Dashboard
from cluster.grafana.rule_files import alerts
from tests.pages import ROOT, page

_CHART = ROOT / "k8s" / "chart"
_VALUES = yaml.safe_load((_CHART / "values.yaml").read_text())


def test_the_charts_files_are_those_of_the_code() -> None:
    shipped = {
        f"{folder}/{path.name}": path.read_text()
        for folder in ("dashboards", "rules")
        for path in (_CHART / folder).iterdir()
    }
    assert shipped == files(), "run: make dashboards"


def test_a_file_that_is_no_longer_made_goes(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "old.yaml").touch()
    write(tmp_path)
    assert {str(one.relative_to(tmp_path)) for one in tmp_path.glob("*/*")} == set(files())


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.uid)
def test_a_dashboard_shows_its_panels_over_one_data_source(dashboard: Dashboard) -> None:
    made = json.loads(files()[f"dashboards/{dashboard.uid}.json"])
    assert {"id", "version"} & made.keys() == set(), "a server gives them"
    assert [one["title"] for one in made["panels"]] == [one.title for one in dashboard.panels]
    assert len({one["id"] for one in made["panels"]}) == len(dashboard.panels)
    for shown, panel in zip(made["panels"], dashboard.panels, strict=True):
        assert [target["expr"] for target in shown["targets"]] == [
            query.expr for query in panel.queries
        ]
        sources = [shown["datasource"], *(target["datasource"] for target in shown["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}
    [variable] = made["templating"]["list"]
    assert (variable["name"], variable["type"]) == ("datasource", "datasource")
    places = [(one["gridPos"]["x"], one["gridPos"]["y"]) for one in made["panels"]]
    assert len(set(places)) == len(places), "no panel covers another"


def test_every_alert_has_a_runbook_entry() -> None:
    headings = re.findall(r"^## (\w+)$", page("docs/alerts.md").text, re.MULTILINE)
    assert headings == [alert["alert"] for alert in alerts()]
    for alert in alerts():
        name = alert["alert"].lower()
        url = f"{_VALUES['monitoring']['runbookUrl']}#{name}"
        assert alert["annotations"]["runbook_url"] == url
