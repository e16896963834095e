"""The rule files of Prometheus that are shipped with the package."""

from pathlib import Path
from typing import Any

import yaml

RULES = Path(__file__).parent / "rules"


def rule_groups() -> list[dict[str, Any]]:
    """Every group of every file, as Prometheus has them."""
    files = sorted(RULES.glob("*.yaml"))
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for group in rule_groups() for rule in group["rules"] if "alert" in rule]


def recordings() -> list[dict[str, Any]]:
    return [rule for group in rule_groups() for rule in group["rules"] if "record" in rule]
