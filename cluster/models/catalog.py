"""The catalog of models and corpora: where each comes from and how it is made.

Reads and checks `catalog.yaml`. Knows neither downloads nor formats.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]

_CATALOG = Path(__file__).with_name("catalog.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Strict):
    """A pinned file of a package registry.

    `sha256` has an entry for each platform's file. `size_bytes` is only for the progress bar.
    """

    kind: Literal["wheel", "npm"]
    package: str
    version: str
    size_bytes: int = Field(gt=0)
    sha256: tuple[Sha256, ...] = Field(min_length=1)


class _Recipe(_Strict):
    """A way to make an artefact from `directory` of its package.

    A higher `revision` makes caches replace what they hold.
    """

    directory: str
    revision: int = 1


class Checkpoint(_Recipe):
    """A Hugging Face directory, kept as it is but for its tokenizer's padding."""

    recipe: Literal["checkpoint"]


class OnnxInt8Bert(_Recipe):
    """A quantised BERT cross-encoder; the number of its heads is not in its weights."""

    recipe: Literal["onnx-int8-bert"]
    attention_heads: int = Field(gt=0)


class TinyQwen3(_Recipe):
    """A tiny Qwen3 of random weights, with the tokenizer in `directory`."""

    recipe: Literal["tiny-qwen3"]
    seed: int


class WikipediaSummaries(_Recipe):
    """A JSON file of articles, converted to JSON lines of documents."""

    recipe: Literal["wikipedia-summaries"]
    file: str


Build = Annotated[
    Checkpoint | OnnxInt8Bert | TinyQwen3 | WikipediaSummaries, Field(discriminator="recipe")
]


class Artefact(_Strict):
    """A model or a corpus: its package, its recipe, and its task."""

    task: Literal["embed", "rerank", "corpus"]
    description: str
    licence: str
    source: Source
    build: Build

    def fingerprint(self) -> str:
        """SHA-256 over source, task and recipe: what decides the files, not their description."""
        made_of = self.model_dump_json(include={"source", "build", "task"})
        return hashlib.sha256(made_of.encode()).hexdigest()


class Catalog(_Strict):
    """The artefacts by name, and `node`, the package whose npm is used where none is installed."""

    artefacts: dict[Name, Artefact]
    node: Source


def load_catalog() -> Catalog:
    return Catalog.model_validate(yaml.safe_load(_CATALOG.read_text(encoding="utf-8")))
