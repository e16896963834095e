"""The chart's dashboards and rules, made from the code: `make dashboards` writes them.

A test compares them with the code.
"""

from pathlib import Path

from cluster.grafana.dashboards import DASHBOARDS
from cluster.grafana.panels import to_json
from cluster.grafana.rule_files import RULES

_CHART = Path(__file__).parents[2] / "k8s" / "chart"


def files() -> dict[str, str]:
    """Every file's text by its path in the chart."""
    made = {f"dashboards/{one.uid}.json": to_json(one) for one in DASHBOARDS}
    return made | {f"rules/{file.name}": file.read_text() for file in sorted(RULES.glob("*.yaml"))}


def write(chart: Path) -> None:
    """Write every file, and remove those that are no longer made."""
    for folder in ("dashboards", "rules"):
        (chart / folder).mkdir(parents=True, exist_ok=True)
        for old in (chart / folder).iterdir():
            old.unlink()
    for name, text in files().items():
        (chart / name).write_text(text)


if __name__ == "__main__":
    write(_CHART)
