"""A fault that would keep a stage from starting is a line: the field, and what to write."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.config import AppConfig
from cluster.local.state import State
from cluster.preflight import answers, model_faults, place_faults
from cluster.profile import application, load_profile, localise


@pytest.fixture
def args(tmp_path: Path) -> dict[str, Any]:
    """The local profile's, in a state directory that is prepared."""
    state = State(tmp_path / "state")
    state.prepare()
    profile = localise(load_profile("local"), state, lambda model: model, None)
    found: dict[str, Any] = application(profile)["args"]
    return found


def _faults(args: dict[str, Any]) -> list[str]:
    faults = place_faults(AppConfig.model_validate(args))
    return [f"{field}: {fault}" for field, fault in faults]


def _written(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


def test_a_profile_without_faults_changes_nothing(args: dict[str, Any], tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert _faults(args) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_each_place_that_cannot_be_is_named(args: dict[str, Any], tmp_path: Path) -> None:
    file = _written(tmp_path / "file", "")
    args["index"]["directory"] = file
    args["router"]["embed_cache"]["directory"] = f"{file}/cache"
    args["router"]["keys_file"] = str(tmp_path / "none.json")
    args["router"]["token_id_vocabulary"] = str(tmp_path)
    assert _faults(args) == [
        f"router.embed_cache.directory: '{file}/cache' cannot be made, for '{file}' is a file:"
        " name a directory",
        f"router.keys_file: there is no file '{tmp_path}/none.json': make it, or name another",
        f"router.token_id_vocabulary: '{tmp_path}' is no file: name one",
        f"index.directory: '{file}' is a file: name a directory",
    ]


def test_a_directory_that_takes_no_files_is_named(
    args: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.W_OK)  # root may always
    args["index"]["directory"] = str(tmp_path / "index")
    assert f"index.directory: '{tmp_path}' may not be written to: name another, or give this" in (
        "\n".join(_faults(args))
    )


def test_a_cache_that_is_off_needs_no_place(args: dict[str, Any], tmp_path: Path) -> None:
    file = _written(tmp_path / "file", "")
    args["router"]["embed_cache"] = {"directory": file, "max_bytes": 0}
    assert _faults(args) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("not a URL", "no database's URL such as postgresql://user:password@host:5432/name"),
        ("postgres+nothing://x/y", "no database's URL such as"),
        ("postgresql://me:secret@127.0.0.1:1/winnow", "Connection refused"),
    ],
)
def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    text: str, said: str, args: dict[str, Any], tmp_path: Path
) -> None:
    file = _written(tmp_path / "url", text)
    args["router"]["control"]["database_url_file"] = file
    args["index"] = {"engine": "postgres", "database_url_file": file}
    faults = _faults(args)
    assert [fault.split(":")[0] for fault in faults] == [
        "router.control.database_url_file",
        "index.database_url_file",
    ]
    for fault in faults:
        assert said in fault
        assert "secret" not in fault


@pytest.mark.parametrize(
    ("field", "change", "said"),
    [
        (
            "router.control.redis_url_file",
            lambda args, file: args["router"]["control"].update(redis_url_file=file),
            "holds no URL such as redis://host:6379",
        ),
        (
            "router.keys_file",
            lambda args, file: args["router"].update(keys_file=file),
            "holds no hashed keys",
        ),
        (
            "router.token_id_vocabulary",
            lambda args, file: args["router"].update(token_id_vocabulary=file),
            "is not a vocabulary in tiktoken's format",
        ),
        (
            "index.url",
            lambda args, _: args.update(index={"engine": "qdrant", "url": "qdrant"}),
            "no URL such as http://qdrant:6333",
        ),
        (
            "index.url",
            lambda args, _: args.update(index={"engine": "qdrant", "url": "http://127.0.0.1:1"}),
            "nothing answers there",
        ),
    ],
)
def test_an_address_that_is_none_is_named(
    field: str,
    change: Callable[[dict[str, Any], str], None],
    said: str,
    args: dict[str, Any],
    tmp_path: Path,
) -> None:
    change(args, _written(tmp_path / "url", "host:6379"))
    [fault] = _faults(args)
    assert fault.startswith(f"{field}: ")
    assert said in fault


def test_a_port_that_nobody_listens_on_does_not_answer(unused_tcp_port: int) -> None:
    assert not answers("127.0.0.1", unused_tcp_port)


@pytest.fixture
def models(args: dict[str, Any], tmp_path: Path) -> Path:
    """A directory that stands for both models: 384 dimensions, 512 positions."""
    config = {"hidden_size": 384, "max_position_embeddings": 512}
    _written(tmp_path / "config.json", json.dumps(config))
    for stage in ("embedder", "reranker"):
        args[stage]["engine"]["model"] = str(tmp_path)
    return tmp_path


def _model_faults(args: dict[str, Any]) -> list[str]:
    faults = model_faults(AppConfig.model_validate(args))
    return [f"{field}: {fault}" for field, fault in faults]


def test_what_contradicts_the_models_own_files_is_named(args: dict[str, Any], models: Path) -> None:
    assert _model_faults(args) == []
    args["embedder"]["dimensions"] = 512
    args["reranker"]["engine"]["max_model_len"] = 513
    assert _model_faults(args) == [
        "embedder.dimensions: the model's vectors have 384, not 512: write 384",
        "reranker.engine.max_model_len: the model reads 512 tokens at most, not 513: write 512"
        " or less",
    ]
    _written(models / "config.json", "{")
    assert ["its files cannot be read" in fault for fault in _model_faults(args)] == [True] * 2


def test_a_layer_behind_the_model_gives_the_width(args: dict[str, Any], models: Path) -> None:
    (models / "2_Dense").mkdir()
    _written(models / "2_Dense" / "config.json", json.dumps({"out_features": 128}))
    dense = {"type": "sentence_transformers.models.Dense", "path": "2_Dense"}
    _written(models / "modules.json", json.dumps([dense]))
    assert _model_faults(args) == [
        "embedder.dimensions: the model's vectors have 128, not 384: write 128"
    ]


@pytest.mark.parametrize(
    ("rope", "read"), [({"rope_type": "default"}, 1), ({"rope_type": "yarn", "factor": 4}, 0)]
)
@pytest.mark.usefixtures("models")
def test_positions_that_are_scaled_are_left_to_the_engine(
    rope: dict[str, Any], read: int, args: dict[str, Any]
) -> None:
    overrides = {"rope_parameters": rope}
    args["embedder"]["engine"] |= {"max_model_len": 1_000, "hf_overrides": overrides}
    assert len(_model_faults(args)) == read


def test_a_hub_id_is_left_to_its_replica(args: dict[str, Any]) -> None:
    args["embedder"]["engine"]["model"] = "a/b"
    args["embedder"]["dimensions"] = 5
    assert _model_faults(args) == []
