"""Import errors, all of them at once: `python -m loadtest.gpu.imports`.

Every module of others that our sources name is tried, whatever else is missing, and then our own
entries. Needs nothing but Python itself.
"""

import ast
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_OURS = {"cluster", "deployments", "loadtest"}
# The parts of the load tests that a run uses.
_LOADTEST = ("gpu", "run", "overload")
# Needed to make other models, and not to run any.
_NOT_NEEDED = {"onnx"}
_ENTRIES = (
    *("deployments.router", "deployments.embedder", "deployments.index", "deployments.reranker"),
    *("deployments.engine.separate", "deployments.engine.inline", "deployments.engine.child"),
    *("vllm.v1.worker.gpu_worker", "vllm.model_executor.models.qwen3"),
    *("cluster.app", "cluster.__main__", "cluster.haproxy", "loadtest.gpu.client"),
)


def import_all() -> dict[str, str]:
    """Import everything; return the error of each module that cannot be imported."""
    errors: dict[str, str] = {}
    for name in (*sorted(set(_foreign())), *_ENTRIES):
        try:
            importlib.import_module(name)
        except Exception as error:  # what a package does when it is imported is up to it
            errors[name] = f"{type(error).__name__}: {error}"
    return errors


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that matter, if they are imported."""
    found = {"python": sys.version.split()[0]}
    for name in ("vllm", "torch", "transformers", "ray"):
        if name in sys.modules:
            found[name] = str(getattr(sys.modules[name], "__version__", ""))
    return found


def _foreign() -> Iterator[str]:
    """Modules of others that our sources import, at their top or later."""
    folders = [_ROOT / "deployments", _ROOT / "cluster"]
    folders += [_ROOT / "loadtest" / name for name in _LOADTEST]
    for source in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            known = _OURS | _NOT_NEEDED | set(sys.stdlib_module_names)
            yield from (one for one in names if one.partition(".")[0] not in known)


if __name__ == "__main__":
    problems = import_all()
    lines = [f"{name}: {error}" for name, error in problems.items()]
    sys.stdout.write("\n".join([*lines, str(versions())]) + "\n")
    sys.exit(bool(problems))
