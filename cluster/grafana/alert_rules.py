"""The alerts of the rule files as rules that Grafana itself evaluates.

They ask for series that Prometheus records, so Prometheus must have the recording rules.
"""

from typing import Any

from cluster.grafana.rule_files import alerts

GROUP = "winnow-alerts"
_INTERVAL_S = 60
_LOOK_BACK_S = 600
# An expression of ours has a value, whichever, where it fires, and none where it does not.
_FIRES = "is_number($A) || is_inf($A) || is_nan($A)"


def rule_group(folder_uid: str, source_uid: str) -> dict[str, Any]:
    """The group as Grafana's provisioning API takes it; the rules have no uid yet."""
    rules = [_rule(alert, folder_uid, source_uid) for alert in alerts()]
    return {"title": GROUP, "folderUid": folder_uid, "interval": _INTERVAL_S, "rules": rules}


def _rule(alert: dict[str, Any], folder_uid: str, source_uid: str) -> dict[str, Any]:
    return {
        "title": alert["alert"],
        "ruleGroup": GROUP,
        "folderUID": folder_uid,
        "orgID": 1,  # required, and replaced by that of the token
        "condition": "B",
        "data": [
            _node("A", source_uid, {"expr": alert["expr"], "instant": True, "range": False}),
            _node("B", "__expr__", {"type": "math", "expression": _FIRES}),
        ],
        "for": alert.get("for", "0s"),
        "noDataState": "OK",
        "execErrState": "Error",
        "labels": alert["labels"],
        "annotations": alert["annotations"],
        "isPaused": False,
    }


def _node(ref: str, source_uid: str, model: dict[str, Any]) -> dict[str, Any]:
    return {
        "refId": ref,
        "datasourceUid": source_uid,
        "queryType": "",
        "relativeTimeRange": {"from": _LOOK_BACK_S, "to": 0},
        "model": {"refId": ref} | model,
    }
