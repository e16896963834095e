"""The models under test: random weights in the shapes of the real ones, made where they run."""

from concurrent.futures import ThreadPoolExecutor

from cluster.models.random_qwen3 import make_random_qwen3
from cluster.stages import MODEL_STAGES, ModelStage
from loadtest.gpu.settings import Settings


def make_models(settings: Settings) -> None:
    """Make both, side by side."""

    def make(stage: ModelStage) -> None:
        directory = settings.model(stage)
        directory.mkdir()
        embedder = stage == "embed"
        make_random_qwen3(settings.tokenizer, directory, int(embedder), embedder, settings.shape)

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, MODEL_STAGES))
