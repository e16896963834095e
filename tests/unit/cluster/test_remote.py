"""Verbs that speak to a service elsewhere: its URL and key, and what they send."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.commands.session import CommandError
from tests.unit.cluster.servers import Answer, Asked, Served, serving

_MOST_BYTES = 2_000
_TENANT = {"id": "a", "plan": "default", "disabled": False, "created": None}
_ANSWERS: dict[str, Answer] = {
    "/v1/admin/tenants": (200, {"tenants": [_TENANT]}),
    "/v1/admin/keys": (200, {"keys": []}),
    "/v1/search": (200, {"results": [], "timings_ms": {}, "usage": {"candidates": 0}}),
}


def _answer(asked: Asked) -> Answer:
    if asked.path.endswith("/documents/get"):
        return 200, {"documents": [None] * len(asked.json()["ids"])}
    if asked.path.endswith("/documents/delete"):
        return 200, {"deleted": 0}
    if len(asked.body) > _MOST_BYTES:
        return 413, {"error": {"message": f"the body is larger than {_MOST_BYTES} bytes"}}
    return _ANSWERS.get(asked.path, (200, {}))


@pytest.fixture(autouse=True)
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No cluster in the working directory, and no service in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("WINNOW_STATE", "WINNOW_URL", "WINNOW_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def service() -> Iterator[Served]:
    with serving(_answer) as served:
        yield served


def _key(key: str) -> str:
    """A file that holds the key."""
    Path("key").write_text(f"{key}\n")
    return "key"


def _run(*arguments: str, **environment: str) -> str:
    done = CliRunner().invoke(app, arguments, env=environment)
    if done.exception:
        raise done.exception
    return done.output


@pytest.mark.parametrize(
    "arguments", [["search", "c", "q"], ["tenants", "list"], ["keys", "list"], ["ingest", "c", "f"]]
)
def test_the_service_is_that_of_the_options_or_of_the_environment(
    arguments: list[str], service: Served
) -> None:
    Path("f").write_text("A text.")
    _run(*arguments, "--url", service.url, "--api-key-file", _key("k1"))
    assert {one.key for one in service.asked} == {"Bearer k1"}
    service.asked.clear()
    _run(*arguments, WINNOW_URL=service.url, WINNOW_API_KEY="k2")
    assert {one.key for one in service.asked} == {"Bearer k2"}


def test_smoke_asks_the_service_it_is_told_of(service: Served) -> None:
    done = CliRunner().invoke(app, ["smoke", "--url", service.url, "--api-key-file", _key("k")])
    assert done.exit_code == 1
    assert "/v1/models" in {one.path for one in service.asked}


def test_a_url_without_a_key_says_how_to_give_one(service: Served) -> None:
    with pytest.raises(CommandError, match="give --api-key-file, or set WINNOW_API_KEY"):
        _run("search", "c", "q", "--url", service.url)


def test_a_key_file_that_is_not_there_is_named(service: Served) -> None:
    with pytest.raises(CommandError, match=r"the API key cannot be read: .*nowhere"):
        _run("search", "c", "q", "--url", service.url, "--api-key-file", "nowhere")


@pytest.mark.parametrize(
    ("options", "top_k"),
    [([], 50), (["--top-n", "60"], 60), (["--top-n", "3"], 50), (["--top-k", "7"], 7)],
)
def test_there_are_at_least_as_many_candidates_as_results(
    options: list[str], top_k: int, service: Served
) -> None:
    _run("search", "c", "q", *options, "--url", service.url, "--api-key-file", _key("k"))
    assert service.asked[0].json()["top_k"] == top_k


def test_documents_too_large_for_one_request_go_in_several(service: Served) -> None:
    lines = [f'{{"id": "{n}", "text": "{"a " * 200}"}}' for n in range(20)]
    Path("f.jsonl").write_text("\n".join(lines))
    shown = _run("ingest", "c", "f.jsonl", "--url", service.url, "--api-key-file", _key("k"))
    assert "20 documents stored" in shown
    stored = [
        document["id"]
        for one in service.asked
        if one.path == "/v1/collections/c/documents" and len(one.body) <= _MOST_BYTES
        for document in one.json()["documents"]
    ]
    assert stored == [str(n) for n in range(20)]


def test_a_document_too_large_for_any_request_is_named(service: Served) -> None:
    text = "a" * _MOST_BYTES
    Path("f.jsonl").write_text(f'{{"id": "b", "text": "c"}}\n{{"id": "huge", "text": "{text}"}}')
    with pytest.raises(CommandError, match=r"document 'huge': 413 the body is larger"):
        _run("ingest", "c", "f.jsonl", "--url", service.url, "--api-key-file", _key("k"))


def test_lists_of_several_pages_are_shown_whole() -> None:
    def answer(asked: Asked) -> Answer:
        assert "limit" not in asked.path
        name = "b" if "after=a" in asked.path else "a"
        return 200, {"tenants": [_TENANT | {"id": name}], "after": "a" if name == "a" else None}

    with serving(answer) as service:
        shown = _run("tenants", "list", "--url", service.url, "--api-key-file", _key("k"))
    assert [asked.path.partition("?")[2] for asked in service.asked] == ["", "after=a"]
    assert {"a", "b"} <= set(shown.split())


def test_of_an_id_that_comes_twice_in_a_file_the_last_document_is_stored(service: Served) -> None:
    Path("f.jsonl").write_text('{"id": "a", "text": "old"}\n{"id": "a", "text": "new"}\n')
    shown = _run("ingest", "c", "f.jsonl", "--url", service.url, "--api-key-file", _key("k"))
    assert "of 1 ids that come again the last document is taken" in shown
    assert "1 documents stored" in shown
    [upsert] = [one.json() for one in service.asked if one.path.endswith("/documents")]
    assert [document["text"] for document in upsert["documents"]] == ["new"]


def test_documents_that_the_embedder_does_not_read_whole_are_told() -> None:
    cut = ["a", "b", "c", "d[/]"]

    def answer(asked: Asked) -> Answer:
        if asked.path == "/v1/collections/c/documents":
            return 200, {"upserted": 5, "tokens": 9, "truncated": cut}
        return _answer(asked)

    Path("f.jsonl").write_text('{"id": "a", "text": "long"}\n')
    with serving(answer) as service:
        arguments = ["ingest", "c", "f.jsonl", "--url", service.url, "--api-key-file", _key("k")]
        shown = [" ".join(_run(*arguments).split())]
        del cut[1:]
        shown.append(" ".join(_run(*arguments).split()))
    assert "4 documents are longer than the embedder reads" in shown[0]
    assert "split them (a, b, c, ...)" in shown[0]
    assert "split them (a)" in shown[1]


@pytest.mark.parametrize("status", [413, 503])
def test_documents_that_were_cut_are_told_when_a_later_one_fails(status: int) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path != "/v1/collections/c/documents":
            return _answer(asked)
        ids = [document["id"] for document in asked.json()["documents"]]
        if ids == ["cut"]:
            return 200, {"upserted": 1, "tokens": 9, "truncated": ids}
        return 413 if len(ids) > 1 else status, {"error": {"message": "it is not stored"}}

    Path("f.jsonl").write_text('{"id": "cut", "text": "long"}\n{"id": "b", "text": "c"}\n')
    with serving(answer) as service:
        arguments = ["ingest", "c", "f.jsonl", "--url", service.url, "--api-key-file", _key("k")]
        done = CliRunner().invoke(app, arguments)
    assert "it is not stored" in str(done.exception)
    assert "split them (cut)" in " ".join(done.output.split())
