"""The fields of Ray Serve's own configuration that a profile may set, checked without a cluster.

Serve ignores a field that it does not know, such as `num_replica`, and refuses a value only once
Ray runs. Importing its schema takes seconds, so the fields are written out here for Ray 2.60; a
test compares them with the schema. What Winnow has a type of its own for, the application's
arguments and its scaling rules, is left to `profile`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Least0 = Annotated[float, Field(ge=0)]
_Above0 = Annotated[float, Field(gt=0)]


class ServeFields(BaseModel):
    """A part of the configuration; a field that is not named here is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoggingFields(ServeFields):
    encoding: Literal["TEXT", "JSON"] | None = None
    log_level: int | str | None = None
    logs_dir: str | None = None
    enable_access_log: bool = True
    additional_log_standard_attrs: list[str] = []


class ActorFields(ServeFields):
    """Resources that a replica asks Ray for: `num_cpus` is 1 where it is not given."""

    runtime_env: dict[str, Any] = {}
    num_cpus: _Least0 | None = None
    num_gpus: _Least0 | None = None
    memory: _Least0 | None = None
    resources: dict[str, float] = {}
    accelerator_type: str | None = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: list[dict[str, Any]] | None = None


class AutoscalingFields(ServeFields):
    min_replicas: int = Field(default=1, ge=0)
    initial_replicas: int | None = Field(default=None, ge=0)
    max_replicas: int = Field(default=1, gt=0)
    target_ongoing_requests: _Above0 | None = None
    metrics_interval_s: _Above0 | None = None
    look_back_period_s: _Above0 | None = None
    smoothing_factor: _Above0 | None = None
    upscale_smoothing_factor: _Above0 | None = None
    downscale_smoothing_factor: _Above0 | None = None
    upscaling_factor: _Above0 | None = None
    downscaling_factor: _Above0 | None = None
    downscale_delay_s: _Least0 | None = None
    downscale_to_zero_delay_s: _Least0 | None = None
    upscale_delay_s: _Least0 | None = None
    aggregation_function: str | None = None
    policy: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(
                f"min_replicas is {self.min_replicas} and max_replicas {self.max_replicas}: make"
                " the second at least the first"
            )
        return self


class DeploymentFields(ServeFields):
    num_replicas: Annotated[int, Field(gt=0)] | Literal["auto"] | None = None
    max_ongoing_requests: int | None = Field(default=None, gt=0)
    max_queued_requests: int | None = None
    backpressure_config: dict[str, Any] | None = None
    user_config: dict[str, Any] | None = None
    autoscaling_config: AutoscalingFields | None = None
    graceful_shutdown_wait_loop_s: _Least0 | None = None
    graceful_shutdown_timeout_s: _Least0 | None = None
    health_check_period_s: _Above0 | None = None
    health_check_timeout_s: _Above0 | None = None
    ray_actor_options: ActorFields = ActorFields()
    placement_group_bundles: list[dict[str, float]] | None = None
    placement_group_strategy: str | None = None
    placement_group_bundle_label_selector: list[dict[str, str]] | None = None
    max_replicas_per_node: int | None = Field(default=None, ge=1, le=100)
    logging_config: LoggingFields | None = None
    request_router_config: dict[str, Any] | None = None
    gang_scheduling_config: dict[str, Any] | None = None
    deployment_actors: list[dict[str, Any]] | None = None
    rolling_update_percentage: float | None = Field(default=None, gt=0, le=1)
    max_surge_percent: int | None = Field(default=None, ge=0, le=100)

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.autoscaling_config and self.num_replicas not in (None, "auto"):
            raise ValueError("num_replicas and autoscaling_config exclude one another: remove one")
        return self


class ApplicationFields(ServeFields):
    name: str
    route_prefix: str | None = "/"
    import_path: str
    runtime_env: dict[str, Any] = {}
    host: str | None = None
    port: int | None = None
    logging_config: LoggingFields | None = None
    external_scaler_enabled: bool = False


class HttpFields(ServeFields):
    host: str | None = None
    port: int = Field(gt=0, le=65_535)
    root_path: str | None = None
    request_timeout_s: _Above0 | None = None
    keep_alive_timeout_s: int | None = None
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None


class TopFields(ServeFields):
    """The fields beside the applications."""

    proxy_location: str | None = None
    http_options: HttpFields
    grpc_options: dict[str, Any] | None = None
    controller_options: dict[str, Any] | None = None
    logging_config: LoggingFields | None = None
    tracing_config: dict[str, Any] | None = None
    target_capacity: float | None = None
