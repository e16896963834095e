"""`winnow render`: the Kubernetes manifest of a profile."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.fit_check import check_fits
from cluster.kubernetes import block_yaml
from cluster.kubernetes.rayservice import render_rayservice
from cluster.node_groups import load_cluster_spec
from cluster.profile import application, load_profile

_HEADER = "# Made by 'winnow render' from cluster/profiles and k8s/cluster.yaml; change those.\n"


def render(
    profile: Annotated[str, typer.Option(help="A profile's name, or a file.")] = "production",
    pods: Annotated[Path, typer.Option(help="The pods to run on.")] = Path("k8s/cluster.yaml"),
    output: Annotated[Path | None, typer.Option(help="File to write; else printed.")] = None,
) -> None:
    """Render PROFILE as a KubeRay RayService."""
    text = manifest(profile, pods)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text)


def manifest(profile: str, pods: Path) -> str:
    """Return the RayService as YAML. Raises ProfileError and PlacementError."""
    config, spec = load_profile(profile), load_cluster_spec(pods)
    check_fits(application(config)["deployments"], spec.groups)
    service = render_rayservice(config, spec)
    return _HEADER + block_yaml.dump(service)
