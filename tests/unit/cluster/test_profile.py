"""Profiles: those that come with Winnow, those that extend another, and the mistakes in them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.overlay import differences
from cluster.profile import ProfileError, application, load_profile, models, profile_names
from deployments.batching.batcher import BatchLimits
from deployments.config import RouterConfig
from deployments.web.schemas import MAX_DEADLINE_MS
from tests.one_machine import may_not_differ


def test_models_carry_their_revisions() -> None:
    profile = load_profile("local")
    embedder = application(profile)["args"]["embedder"]
    embedder["engine"] |= {"model": "a/b", "revision": "refs/pr/1"}
    assert models(profile) == [("a/b", "refs/pr/1"), ("ms-marco-MiniLM-L-12-v2", None)]


@pytest.mark.parametrize("name", profile_names())
def test_a_hub_model_of_a_profile_that_comes_with_winnow_is_pinned(name: str) -> None:
    for model, revision in models(load_profile(name)):
        assert "/" not in model or re.fullmatch("[0-9a-f]{40}", revision or ""), model


@pytest.mark.parametrize("name", profile_names())
def test_a_rollout_starts_new_replicas_first_where_there_is_room(name: str) -> None:
    without = {
        deployment["name"]
        for deployment in application(load_profile(name))["deployments"]
        if not deployment.get("max_surge_percent")
    }
    # One machine whose GPUs its engines fill.
    filled = {"qwen3-0.6b", "qwen3-8b"}
    assert without == ({"Embedder", "Reranker"} if name in filled else set())


@pytest.mark.parametrize("name", profile_names())
def test_a_router_that_leaves_may_finish_the_longest_request(name: str) -> None:
    deployments = application(load_profile(name))["deployments"]
    [router] = [one for one in deployments if one["name"] == "Router"]
    assert router["graceful_shutdown_timeout_s"] > MAX_DEADLINE_MS / 1_000


def _renamed(section: dict[str, Any], old: str, new: str) -> None:
    section[new] = section.pop(old)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda app: _renamed(app["args"]["embedder"], "dimensions", "dimension"),
            [
                "applications.winnow.args.embedder.dimensions: is missing: add it",
                "applications.winnow.args.embedder.dimension: no such field;"
                " did you mean 'dimensions'?",
            ],
        ),
        (
            lambda app: app["args"]["embedder"].update(dimensions=-3),
            [
                "applications.winnow.args.embedder.dimensions:"
                " input should be greater than 0, not -3"
            ],
        ),
        (
            lambda app: app["args"]["index"].update(engine="faiss"),
            [
                "applications.winnow.args.index.engine:"
                " input should be 'lancedb', 'postgres' or 'qdrant', not 'faiss'"
            ],
        ),
        (
            lambda app: app["deployments"][1]["user_config"].update(max_batch_token=1),
            [
                "Embedder.user_config.max_batch_token: no such field;"
                " did you mean 'max_batch_tokens'?"
            ],
        ),
        (
            lambda app: app["deployments"][0]["user_config"]["plans"].update(free={"weigh": 1}),
            ["Router.user_config.plans.free.weigh: no such field; did you mean 'weight'?"],
        ),
        (
            lambda app: app["deployments"][2].update(user_config={"slot": 4}),
            ["Index.user_config.slot: no such field; did you mean 'slots'?"],
        ),
        (
            lambda app: app["deployments"][2].update(user_config={"slots": 0}),
            ["Index.user_config.slots: input should be greater than 0, not 0"],
        ),
        (lambda app: app.pop("args"), ["applications.winnow.args: is missing: add it"]),
        (
            lambda app: _renamed(app["deployments"][1], "num_replicas", "num_replica"),
            [
                "applications.winnow.deployments.Embedder.num_replica: no such field;"
                " did you mean 'num_replicas'?"
            ],
        ),
        (
            lambda app: app["deployments"][1].update(ray_actor_options={"num_cpu": 0}),
            [
                "applications.winnow.deployments.Embedder.ray_actor_options.num_cpu:"
                " no such field; did you mean 'num_cpus'?"
            ],
        ),
        (
            lambda app: app["deployments"][1].update(num_replicas=-2),
            [
                "applications.winnow.deployments.Embedder.num_replicas: input should be greater"
                " than 0, not -2, or input should be 'auto', not -2"
            ],
        ),
        (
            lambda app: app["deployments"][1].update(autoscaling_config={"max_replicas": 2}),
            [
                "applications.winnow.deployments.Embedder: num_replicas and autoscaling_config"
                " exclude one another: remove one"
            ],
        ),
        (
            lambda app: app["deployments"][1].update(name="Embeder"),
            [
                "applications.winnow.deployments.Embeder.name: input should be 'Router',"
                " 'Embedder', 'Index' or 'Reranker', not 'Embeder'"
            ],
        ),
        (
            lambda app: app["args"]["index"].update(directory=None),
            ["applications.winnow.args.index: the lancedb index needs 'directory': add it"],
        ),
        (
            lambda app: app["args"]["embedder"].update(min_dimensions=400),
            [
                "applications.winnow.args.embedder: min_dimensions is 400 and dimensions 384:"
                " make the first at most the second"
            ],
        ),
        (
            lambda app: app["args"]["embedder"]["engine"].update(max_num_seqs=10_000),
            [
                "applications.winnow.args.embedder.engine: max_num_batched_tokens is 8192 and"
                " max_num_seqs 10000: make the first at least the second"
            ],
        ),
    ],
)
def test_each_mistake_is_a_line_with_the_field_and_what_to_write(
    spoil: Callable[[dict[str, Any]], None], said: list[str], tmp_path: Path
) -> None:
    profile = load_profile("local")
    spoil(application(profile))
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(profile))
    with pytest.raises(ProfileError) as refused:
        load_profile(str(file))
    assert str(refused.value).splitlines() == [f"mine.yaml: {line}" for line in said]


@pytest.mark.parametrize("text", ["a: [", "- a", "text"])
def test_a_file_that_is_no_profile_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ProfileError, match=r"mine\.yaml: ") as refused:
        load_profile(str(file))
    assert all(
        line.startswith(("mine.yaml: ", str(file))) for line in str(refused.value).split("\n")
    )


def test_scaling_rules_with_a_misspelt_name_are_refused(tmp_path: Path) -> None:
    profile = load_profile("production")
    stages = profile["applications"][0]["autoscaling_policy"]["policy_kwargs"]["stages"]
    stages["Embedder"]["drain"] = 5
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump(profile))
    with pytest.raises(ProfileError, match="drain"):
        load_profile(str(file))


def _extending(overlay: dict[str, Any], directory: Path) -> str:
    file = directory / "mine.yaml"
    file.write_text(yaml.safe_dump(overlay))
    return str(file)


def test_a_profile_that_extends_another_says_only_what_differs(tmp_path: Path) -> None:
    deployments = [{"name": "Index", "num_replicas": 3}]
    overlay = {"applications": [{"name": "winnow", "deployments": deployments}]}
    profile = load_profile(_extending({"extends": "production"} | overlay, tmp_path))
    assert differences(load_profile("production"), profile) == {
        "applications.winnow.deployments.Index.num_replicas"
    }


def test_a_file_that_is_extended_lies_beside_the_one_that_extends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory, port in (("profiles", 8123), ("elsewhere", 8124)):
        (tmp_path / directory).mkdir()
        base = {"extends": "production", "http_options": {"port": port}}
        (tmp_path / directory / "base.yaml").write_text(yaml.safe_dump(base))
    monkeypatch.chdir(tmp_path / "elsewhere")
    mine = _extending({"extends": "base.yaml"}, tmp_path / "profiles")
    assert load_profile(mine)["http_options"]["port"] == 8123
    assert load_profile("base.yaml")["http_options"]["port"] == 8124


@pytest.mark.parametrize(
    ("overlay", "said"),
    [
        ({"extends": "none"}, "there is no profile 'none'"),
        ({"extends": "mine.yaml"}, "extends: a profile cannot extend itself"),
        (
            {"extends": "production", "applications": [{"name": "other"}]},
            "mine.yaml: applications.other: what is extended has only winnow",
        ),
        (
            {"extends": "production", "applications": {"name": "winnow"}},
            "mine.yaml: applications: give a list of mappings that each have a name",
        ),
        (
            {"extends": "production", "http_options": 8000},
            "mine.yaml: http_options: give a mapping, not 8000",
        ),
        (
            {"extends": "production", "applications": [{"name": "winnow", "args": {"idx": {}}}]},
            "mine.yaml: applications.winnow.args.idx: no such field; did you mean 'index'?",
        ),
    ],
)
def test_an_overlay_that_does_not_fit_is_refused(
    overlay: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ProfileError, match=re.escape(said)):
        load_profile(_extending(overlay, tmp_path))


def test_production_local_is_production_but_for_its_size() -> None:
    assert may_not_differ(load_profile("production"), load_profile("production-local")) == set()


@pytest.mark.parametrize("name", profile_names())
def test_an_index_with_the_embedded_store_has_few_arenas(name: str) -> None:
    app = application(load_profile(name))
    [index] = [one for one in app["deployments"] if one["name"] == "Index"]
    variables = index["ray_actor_options"].get("runtime_env", {}).get("env_vars", {})
    embedded = app["args"]["index"]["engine"] == "lancedb"
    assert variables.get("MALLOC_ARENA_MAX") == ("2" if embedded else None)


@pytest.mark.parametrize("name", profile_names())
@pytest.mark.parametrize(("stage", "calls"), [("Embedder", "embed"), ("Reranker", "rerank")])
def test_the_fair_queue_of_a_stage_holds_what_waits_and_not_serve(
    name: str, stage: str, calls: str
) -> None:
    """Serve's own queue is in order of arrival: a tenant's bulk work would keep others out."""
    app = application(load_profile(name))
    [deployment] = [one for one in app["deployments"] if one["name"] == stage]
    limits = BatchLimits(**deployment["user_config"])
    of_a_call = RouterConfig(**app["args"]["router"]).model_dump()[f"{calls}_calls"]["tokens"]
    assert deployment["max_ongoing_requests"] > 2 * limits.max_queued_tokens / of_a_call
