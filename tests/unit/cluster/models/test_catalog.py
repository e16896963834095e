"""The catalog is valid, complete and pinned."""

import pytest
from pydantic import ValidationError

from cluster.models.catalog import Artefact, Catalog, load_catalog
from cluster.profile import load_profile, models


def test_the_catalog_names_every_artefact_of_the_program() -> None:
    tasks = {name: artefact.task for name, artefact in load_catalog().artefacts.items()}
    assert tasks == {
        "all-MiniLM-L6-v2": "embed",
        "ms-marco-MiniLM-L-12-v2": "rerank",
        "tiny-qwen3-embedding": "embed",
        "tiny-qwen3-reranker": "rerank",
        "wikipedia-summaries-en": "corpus",
    }


@pytest.mark.parametrize("profile", ["local", "tiny-qwen3"])
def test_profiles_that_need_no_hub_name_models_of_the_catalog(profile: str) -> None:
    names = {name for name, _ in models(load_profile(profile))}
    assert names <= load_catalog().artefacts.keys()


def test_the_dequantised_model_says_so() -> None:
    assert "int8-dequantised" in load_catalog().artefacts["ms-marco-MiniLM-L-12-v2"].description


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("unknown",), 1),
        (("source", "sha256"), ["not a hash"]),
        (("source", "sha256"), []),
        (("build", "recipe"), "unknown"),
        (("build", "attention_heads"), 12),
    ],
)
def test_an_entry_that_is_not_understood_is_refused(path: tuple[str, ...], value: object) -> None:
    entry = load_catalog().artefacts["all-MiniLM-L6-v2"].model_dump(mode="json")
    part = entry
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValidationError):
        Artefact.model_validate(entry)


def test_a_name_cannot_leave_the_cache() -> None:
    catalog = load_catalog()
    entry = catalog.artefacts["all-MiniLM-L6-v2"]
    with pytest.raises(ValidationError):
        Catalog(artefacts={"../elsewhere": entry}, node=catalog.node)


def test_the_fingerprint_follows_what_is_made_and_not_how_it_is_described() -> None:
    entry = load_catalog().artefacts["tiny-qwen3-embedding"]
    described = entry.model_copy(update={"description": "another"})
    revised = entry.model_copy(update={"build": entry.build.model_copy(update={"revision": 2})})
    assert described.fingerprint() == entry.fingerprint()
    assert revised.fingerprint() != entry.fingerprint()
