"""Ray's own autoscaler adds and removes nodes for each stage on its own, and no request fails."""

from pathlib import Path

from cluster.stages import ModelStage
from loadtest.nodes.__main__ import steps
from loadtest.nodes.cluster import MOST, AutoscaledCluster
from loadtest.nodes.load import REQUEST_TOKENS
from loadtest.nodes.play import Played, play
from loadtest.nodes.report import as_document, plot
from loadtest.paced import TOKENS_PER_S

_PATIENCE_S = 180.0


async def test_each_stage_has_the_nodes_its_own_work_needs(
    stand: AutoscaledCluster, tmp_path: Path
) -> None:
    # The last one, in which the rerankers go too, is as in test_growth.
    recording = await play(stand, steps(after_s=4)[:3], _PATIENCE_S)
    _, embeds, reranks = recording.steps
    # A size that a step waits for has been reached, or it had timed out; the other stage's stays.
    assert max(one.sizes["embed"].nodes for one in recording.moments) == MOST
    assert {one.sizes["rerank"].nodes for one in recording.during(embeds)} == {1}
    settled = [one for one in recording.during(reranks) if one.at_s >= reranks.reached_s]
    assert {one.sizes["embed"].nodes for one in settled} == {1}
    grown: dict[ModelStage, Played] = {"embed": embeds, "rerank": reranks}
    for stage, step in grown.items():
        answered = recording.answered(stage, step.reached_s, step.ended_s)
        tokens = len(answered) * REQUEST_TOKENS
        assert tokens / (step.ended_s - step.reached_s) > TOKENS_PER_S
    assert {one.answer.status for one in recording.sent} == {200}
    document = as_document(recording)
    assert document["failed"] == 0
    plot(document, tmp_path / "nodes.svg")
