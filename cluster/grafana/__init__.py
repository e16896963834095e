"""Dashboards, rules and alerts as code, and their way into a Grafana."""
