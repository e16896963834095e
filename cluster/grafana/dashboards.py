"""All dashboards, in the order in which one looks at them."""

from cluster.grafana.autoscaling import AUTOSCALING
from cluster.grafana.engines import ENGINES
from cluster.grafana.pipeline import PIPELINE
from cluster.grafana.service import SERVICE
from cluster.grafana.tenants import TENANTS

DASHBOARDS = (SERVICE, PIPELINE, TENANTS, AUTOSCALING, ENGINES)
