"""`winnow plan`: how many replicas and GPUs a load needs, what they cost and what to change."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from cluster.capacity import (
    GPUS,
    Capacity,
    Engine,
    Load,
    TracedRequest,
    WholeGpu,
    assumed_tokens_per_s,
    load_of,
    parameters,
    plan_capacity,
)
from cluster.commands.session import CommandError, open_console
from cluster.profile import application, load_profile
from cluster.stages import MODEL_STAGES, ModelStage

# The batch for which measured service times become a throughput.
_BATCH_TOKENS, _ROW_TOKENS = 8192, 128


def plan_command(  # noqa: PLR0913 # one parameter an option
    qps: Annotated[float, typer.Option(help="Searches a second at the peak.")] = 100,
    candidates: Annotated[int, typer.Option(help="Documents reranked a search (top_k).")] = 50,
    query_tokens: Annotated[float, typer.Option(help="Tokens of a query.")] = 16,
    document_tokens: Annotated[float, typer.Option(help="Tokens of a candidate.")] = 200,
    objective_ms: Annotated[float, typer.Option(help="Longest time for a search.")] = 500,
    profile: Annotated[
        str, typer.Option(help="The profile whose models to plan for; a name, or a file.")
    ] = "production",
    reranker: Annotated[str | None, typer.Option(help="Another model to rerank with.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Another model to embed with.")] = None,
    gpu: Annotated[str, typer.Option(help=f"One of {', '.join(GPUS)}.")] = "H100",
    measured: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What 'python -m loadtest.gpu' or 'python -m loadtest.simulate measure' wrote.",
        ),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(help="A trace of JSON lines; plan for its busiest minute.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Price of a GPU an hour.")] = None,
) -> None:
    """Plan replicas and GPUs for a load and an objective, and say what to change first."""
    if gpu not in GPUS:
        raise CommandError(f"no figures for a GPU '{gpu}': take one of {', '.join(GPUS)}")
    try:
        load = (
            _traced(trace)
            if trace
            else Load(
                searches_per_s=qps,
                candidates=candidates,
                query_tokens=query_tokens,
                document_tokens=document_tokens,
            )
        )
    except ValidationError as wrong:
        [first, *_] = wrong.errors()
        raise CommandError(f"{first['loc'][0]}: {first['msg']}") from None
    engines = _engines(profile, {"embed": embedder, "rerank": reranker}, gpu, measured)
    _show(plan_capacity(load, engines, objective_ms / 1000), load, objective_ms, price)


def _traced(path: Path) -> Load:
    try:
        lines = path.read_text().splitlines()
        return load_of(TracedRequest.model_validate_json(line) for line in lines if line.strip())
    except OSError as wrong:
        raise CommandError(f"{path}: {wrong.strerror}") from None
    except (ValueError, ValidationError) as wrong:
        raise CommandError(f"{path}: {str(wrong).splitlines()[0]}") from None


def _engines(
    profile: str, others: dict[ModelStage, str | None], gpu: str, measured: Path | None
) -> dict[ModelStage, Engine]:
    app = application(load_profile(profile))
    times: dict[str, Any] = json.loads(measured.read_text()) if measured else {}
    found: dict[ModelStage, Engine] = {}
    for stage, names in MODEL_STAGES.items():
        model = others[stage] or app["args"][names.field]["name"]
        [one] = [d for d in app["deployments"] if d["name"] == names.deployment]
        gpus = float(one.get("ray_actor_options", {}).get("num_gpus", 0))
        speed = _measured_tokens_per_s(stage, model, gpu, gpus, times)
        found[stage] = Engine(
            model=model,
            tokens_per_s=speed or _assumed_tokens_per_s(model, gpu, gpus),
            measured=speed is not None,
            gpus=gpus,
        )
    return found


def _measured_tokens_per_s(
    stage: ModelStage, model: str, gpu: str, gpus: float, times: dict[str, Any]
) -> float | None:
    """Return the throughput by service times, of full batches of rows of `_ROW_TOKENS`, or by that
    of a whole GPU; None if neither is there."""
    if own := times.get(stage):
        token_s = own["token_s"] + own["square_s"] * _ROW_TOKENS
        return float(_BATCH_TOKENS / (own["batch_s"] + token_s * _BATCH_TOKENS))
    if whole := times.get("plan", {}).get(stage):
        return WholeGpu.model_validate(whole).share(model, gpu, gpus)
    return None


def _assumed_tokens_per_s(model: str, gpu: str, gpus: float) -> float:
    size = parameters(model)
    if size is None or not gpus:
        raise CommandError(
            f"how fast '{model}' is on this profile's hardware cannot be assumed: give --measured"
        )
    return assumed_tokens_per_s(size, gpu, gpus)


def _show(made: Capacity, load: Load, objective_ms: float, price: float | None) -> None:
    console = open_console()
    on_gpus = made.gpus > 0
    console.print(
        f"{load.searches_per_s:g} searches/s, {load.candidates} candidates of"
        f" {load.document_tokens:.0f} tokens, answered in {objective_ms:g} ms"
    )
    table = Table("stage", "model", "tokens/s", "a replica does", "replicas", "GPUs")
    for stage in made.stages:
        source = "measured" if stage.engine.measured else "assumed"
        table.add_row(
            stage.stage,
            stage.engine.model,
            f"{stage.tokens_per_s:,.0f}",
            f"{stage.engine.tokens_per_s:,.0f} {source}",
            str(stage.replicas),
            f"{stage.gpus:g}" if on_gpus else "none",
        )
    console.print(table)
    if on_gpus:
        cost = "" if price is None else f", {made.gpus * price:,.2f} an hour"
        console.print(f"GPUs: {made.gpus:g}{cost}")
    slowest = made.bottleneck
    console.print(f"bottleneck: {slowest.stage}, {slowest.work:.1f} replicas' worth of work")
    if not made.feasible:
        console.print(
            "no number of replicas holds the objective:\n"
            f"one search takes {1000 * slowest.alone_s:.0f} ms of an idle replica at"
            f" {slowest.stage}, and may wait as long for another"
        )
    unit = "GPUs" if on_gpus else "replicas"
    for number, one in enumerate(made.advice):
        title = "or" if number else "change first"
        console.print(f"{title}: {one.change} (saves {one.saved:g} {unit})")
