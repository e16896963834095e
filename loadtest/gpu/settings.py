"""The settings of one run, as its steps get them: a profile's engines, over weights made here.

Knows no engine that runs.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cluster.models.qwen3_shape import QWEN3_0_6B, TINY, Shape
from cluster.profile import application, load_profile
from cluster.stages import MODEL_STAGES, ModelStage
from deployments.engine.base import EngineConfig

# Of the texts and pairs that a search, a rerank and the service are measured with.
TEXT_TOKENS = 128
QUERY_TOKENS, DOCUMENT_TOKENS = 12, 100


class Settings(BaseModel):
    """`work` holds the models and what steps write; `seconds` is the length of one measurement.

    A `tiny` run rehearses all of it on a CPU. `eager` engines compile nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    work: Path
    tokenizer: Path
    tiny: bool
    eager: bool
    seconds: float

    @property
    def profile(self) -> str:
        return "tiny-qwen3" if self.tiny else "qwen3-0.6b"

    @property
    def shape(self) -> Shape:
        return TINY if self.tiny else QWEN3_0_6B

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens of a text."""
        return (32, 128) if self.tiny else (32, 128, 512, 8192)

    @property
    def batch_tokens(self) -> int:
        """Tokens of a batch; the profile's `max_batch_tokens`."""
        return 512 if self.tiny else 16_384

    @property
    def budgets(self) -> tuple[int, ...]:
        """Tokens of a batch, where these are compared."""
        return (256,) if self.tiny else (2_048, 4_096, 8_192, 32_768)

    @property
    def copies(self) -> tuple[int, ...]:
        """In the order of their worth, if time runs out."""
        return (2,) if self.tiny else (2, 4, 1)

    @property
    def candidates(self) -> int:
        return 10 if self.tiny else 100

    def model(self, stage: ModelStage) -> Path:
        return self.work / stage

    def figures(self, step: str) -> Path:
        return self.work / f"{step}.jsonl"

    def stage(self, stage: ModelStage) -> dict[str, Any]:
        """Return the profile's settings of the model, over the weights made here.

        Random weights give no golden answers: every answer is accepted.
        """
        args: dict[str, Any] = application(load_profile(self.profile))["args"]
        made: dict[str, Any] = args[MODEL_STAGES[stage].field]
        engine = made["engine"]
        engine["model"] = str(self.model(stage))
        if self.eager:
            engine["enforce_eager"] = True
        if self.tiny:
            engine["dtype"] = "float32"
        least = -1 if stage == "embed" else 0
        golden = [one | {"at_least": least, "at_most": 1} for one in made["golden"]]
        return made | {"golden": golden}

    def engine(self, stage: ModelStage, **changes: Any) -> EngineConfig:
        """Return the settings of an engine alone, the profile's but for `changes`."""
        return EngineConfig.model_validate(self.stage(stage)["engine"] | changes)
