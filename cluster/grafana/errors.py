"""The error of everything that asks a Grafana."""


class GrafanaError(Exception):
    """Grafana cannot be reached or refuses; the message says what to change, in one line."""
