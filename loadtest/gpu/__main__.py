"""`python -m loadtest.gpu`: Winnow's engines and the whole service on this machine's GPU.

Needs no internet: the models are made here, with random weights in the shapes of Qwen3-Embedding-
and Qwen3-Reranker-0.6B, and with the tokenizer of the catalog's tiny models, or of --tokenizer.
Steps come in the order of their worth, until the time is over. Results are written after each.
"""

import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cluster.capacity import GPUS
from cluster.models.pull import default_cache, resolve
from loadtest.bench import machine
from loadtest.gpu import report
from loadtest.gpu.budget import Budget, Record, Step, run_step
from loadtest.gpu.device import gpu as find_gpu
from loadtest.gpu.figures import derived
from loadtest.gpu.limit import card, matrix_parameters
from loadtest.gpu.settings import Settings

# Estimates for an H100. They have not been measured.
_STEPS = (
    Step("imports", 20),
    Step("models", 20),
    Step("embed", 80),
    Step("rerank", 60),
    Step("service", 110),
    Step("copies", 90),
    Step("fp8", 45),
)
# Whose tokenizer appends nothing; the embedder's is made from it.
_TOKENIZER = "tiny-qwen3-reranker"
_TINY_SECONDS = 0.5


def gpu(
    tiny: Annotated[bool, typer.Option(help="Rehearse it on a CPU, with tiny models.")] = False,
    eager: Annotated[bool, typer.Option(help="Compile nothing.")] = False,
    budget_s: Annotated[float, typer.Option(help="The run ends within this time.")] = 480,
    seconds: Annotated[float, typer.Option(help="How long each measurement lasts.")] = 3,
    only: Annotated[
        list[str] | None, typer.Option(help="A step; models are made in any case.")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="A directory with Qwen3's tokenizer.json.")
    ] = None,
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/gpu"),
) -> None:
    """Measure all and write OUTPUT.json, .md and .svg, and OUTPUT.log with what steps print."""
    budget, console = Budget(budget_s), Console()
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".log").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="w-gpu-", dir="/tmp") as directory:
        settings = Settings(
            work=Path(directory),
            tokenizer=tokenizer or Path(resolve(_TOKENIZER, default_cache(), console)),
            tiny=tiny,
            eager=eager,
            seconds=_TINY_SECONDS if tiny else seconds,
        )
        steps = [one for one in _STEPS if not only or one.name in {"models", *only}]
        made = _run(steps, settings, budget, console, output)
    console.print(output.with_suffix(".md").read_text(), markup=False)
    try:
        report.plot(made, output.with_suffix(".svg"))
    except ImportError as error:
        console.print(f"no plot: {error}", markup=False)
    if any(one["status"] == "failed" for one in made["steps"]):
        raise typer.Exit(1)


def _run(
    steps: list[Step], settings: Settings, budget: Budget, console: Console, output: Path
) -> dict[str, Any]:
    records: list[Record] = []
    about = _about(settings)
    made = report.document(about, records, {})
    for step in steps:
        records.append(_recorded(step, settings, output.with_suffix(".log"), budget, console))
        if _cannot_compile(records[-1]) and not settings.eager:
            settings = settings.model_copy(update={"eager": True})
            console.print("no engine has started: again, without compiling")
            records.append(_recorded(step, settings, output.with_suffix(".log"), budget, console))
        made = report.document(about, records, derived(records, settings, about["card"]))
        report.write(made, output)
    return made


def _recorded(
    step: Step, settings: Settings, log: Path, budget: Budget, console: Console
) -> Record:
    command = [sys.executable, "-m", "loadtest.gpu.step", step.name, settings.model_dump_json()]
    record = run_step(step, command, settings.figures(step.name), log, budget)
    console.print(f"{step.name}: {record.status} in {record.seconds:.0f} s", markup=False)
    wrong = [f"  {row['name']}: {row['error']}" for row in record.rows if "error" in row]
    for line in (*wrong, record.reason):
        if line:
            console.print(line, markup=False)
    return record


def _cannot_compile(record: Record) -> bool:
    """True if the first step with an engine had none: it may lack what compiles."""
    return record.step == "embed" and record.status == "failed" and not record.rows


def _about(settings: Settings) -> dict[str, Any]:
    device = find_gpu()
    name = device.name if device else None
    known = card(name)
    return {
        "command": " ".join(["python -m loadtest.gpu", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "device": name or "no NVIDIA GPU",
        "card": known,
        "peak_tflop_per_s": GPUS[known] / 1e12 if known else None,
        "processor": machine.processor(),
        "models": "tiny" if settings.tiny else "shapes of the Qwen3 0.6B models, random weights",
        "matrix_parameters": matrix_parameters(settings.shape),
    }


if __name__ == "__main__":
    typer.run(gpu)
