"""promtool on the rule files: they are well formed, and each alert fires when it shall."""

import re
import subprocess
from pathlib import Path

import yaml

from cluster.grafana.rule_files import RULES, alerts
from tests.prometheus import program

_TESTS = Path(__file__).parent / "alerts_test.yaml"


def _promtool(*arguments: str) -> None:
    done = subprocess.run(
        [program("promtool"), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed() -> None:
    _promtool("check", "rules", *map(str, sorted(RULES.glob("*.yaml"))))


def test_every_alert_fires_when_it_shall_and_not_otherwise(tmp_path: Path) -> None:
    text = _TESTS.read_text().replace("[RULES]", str([str(one) for one in RULES.glob("*.yaml")]))
    (tmp_path / "test.yaml").write_text(text)
    _promtool("test", "rules", str(tmp_path / "test.yaml"))


def test_each_alert_is_tested_firing_and_not() -> None:
    fires: dict[str, set[bool]] = {}
    for test in yaml.safe_load(_TESTS.read_text())["tests"]:
        for asked in test["alert_rule_test"]:
            fires.setdefault(asked["alertname"], set()).add(bool(asked.get("exp_alerts")))
    assert fires == {alert["alert"]: {True, False} for alert in alerts()}


def test_a_rule_asks_only_for_what_is_recorded_before_it() -> None:
    recorded: set[str] = set()
    for file in (RULES / "recording.yaml", RULES / "alerts.yaml"):
        for rule in yaml.safe_load(file.read_text())["groups"][0]["rules"]:
            assert set(re.findall(r"winnow:\w+:\w+", rule["expr"])) <= recorded
            recorded.add(rule.get("record", ""))
