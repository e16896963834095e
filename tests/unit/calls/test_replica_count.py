"""The number of replicas follows the controller, and stays while that is away."""

from deployments.calls.replica_count import ReplicaCount


async def test_it_follows_the_autoscaler_and_stays_while_the_controller_is_away() -> None:
    answers: list[int | Exception] = [2, 8, RuntimeError("away"), RuntimeError("away"), 3, 0]

    def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    count, seen = ReplicaCount(ask), []
    assert count() == 1
    while answers:
        await count.refresh()
        seen.append(count())
    assert seen == [2, 8, 8, 8, 3, 1]
