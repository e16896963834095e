"""The dashboards' panels over one load test, as plots."""
