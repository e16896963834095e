"""Documents read from files: ids follow from the files, and a bad line is named."""

import re
from pathlib import Path

import pytest

from cluster.documents import UnreadableFileError, read_documents


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _written(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_files_of_one_name_in_two_folders_have_ids_of_their_own() -> None:
    documents = [
        document
        for folder in ("a", "b")
        for document in read_documents(_written(f"{folder}/README.md", f"# Folder {folder}"))
    ]
    assert [document["id"] for document in documents] == ["a/README.md#0", "b/README.md#0"]
    assert [document["metadata"]["source"] for document in documents] == [
        "a/README.md",
        "b/README.md",
    ]
    assert {document["metadata"]["title"] for document in documents} == {"README.md"}


@pytest.mark.parametrize("prefix", ["", "./", "a/../", "{here}/"])
def test_a_file_has_the_same_documents_however_its_path_is_written(
    prefix: str, tmp_path: Path
) -> None:
    path = _written("a/notes.txt", "One line.")
    again = Path(prefix.format(here=tmp_path)) / path
    assert list(read_documents(again)) == list(read_documents(path))


def test_a_file_that_is_not_below_here_has_an_id_without_dots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _written("notes.txt", "One line.")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    [document] = read_documents(Path("../notes.txt"))
    assert document["id"] == f"{tmp_path}/notes.txt#0"
    assert document["metadata"]["source"] == "../notes.txt"


def test_a_blank_chunk_is_left_out_and_leaves_no_gap_in_the_numbers() -> None:
    path = _written("notes.txt", "a" * 999 + "\n\n\x1e\n\n" + "b" * 999)
    documents = list(read_documents(path))
    assert [document["text"][0] for document in documents] == ["a", "b"]
    assert [document["id"] for document in documents] == ["notes.txt#0", "notes.txt#1"]
    assert [document["metadata"]["chunk"] for document in documents] == [0, 1]


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_json_lines_are_documents_as_they_stand(suffix: str) -> None:
    path = _written(f"lines.{suffix}", '{"id": 7, "text": "seven", "metadata": {"n": 7}}\n\n')
    assert list(read_documents(path)) == [{"id": "7", "text": "seven", "metadata": {"n": 7}}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "c"}', "'text'"),
        ('{"id": "c", "text": " \\n"}', "its text is blank: leave the document out"),
        ('{"id": "c", "text": 1}', "its text is blank"),
        (
            '{"id": "c", "text": "d", "title": "e"}',
            "'title' is no field of a document: put it into 'metadata'",
        ),
        ("[]", "list indices"),
        ("{", "unexpected end"),
        ('{"id": null, "text": "d"}', "its id is neither a text nor a whole number"),
        ('{"id": true, "text": "d"}', "its id is neither"),
        ('{"id": 123456789012345678901, "text": "d"}', "its id is neither"),
        ('{"id": "c", "text": "d", "metadata": {"price": NaN}}', "unexpected character"),
        ('{"id": "c", "text": "cut \\ud83d"}', "surrogate"),
        ('{"id": "c", "text": "caf\udce9"}', "not valid UTF-8"),
    ],
)
def test_a_bad_line_is_named(line: str, said: str) -> None:
    path = Path("lines.jsonl")
    lines = '{"id": "a", "text": "b"}\n' + line + "\n"
    path.write_bytes(lines.encode(errors="surrogateescape"))
    with pytest.raises(UnreadableFileError, match=rf"lines\.jsonl:2: .*{re.escape(said)}"):
        list(read_documents(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.csv", "id,text"), ("a.json", "[]"), ("A.PDF", "x"), ("scan.txt", "%PDF-1.4\n1 0 obj")],
)
def test_a_file_of_another_format_is_refused_and_not_stored_as_one_text(
    name: str, text: str
) -> None:
    path = _written(name, text)
    with pytest.raises(UnreadableFileError, match=rf"{name}: neither text nor JSON lines: write"):
        list(read_documents(path))
