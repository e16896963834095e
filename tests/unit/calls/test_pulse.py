"""A stage whose replicas run and answer no ping is silent; others are slow, or start anew."""

import asyncio

import pytest

from deployments.calls.hedging import Hedging
from deployments.calls.pulse import Pulse
from deployments.errors import StageSilent, StageUnavailable
from deployments.request.deadline import Deadline, within
from loadtest.simulate import virtual_time


class Stage:
    """`answers_s` is how long each replica takes for a ping; None never answers."""

    def __init__(self, **answers_s: float | None) -> None:
        self.answers_s = answers_s
        self.pings = 0
        self.pulse = Pulse(self.ping, lambda: frozenset(self.answers_s))

    async def ping(self, within_s: float) -> None:
        names = sorted(self.answers_s)
        takes_s = self.answers_s[names[self.pings % len(names)]] if names else None
        self.pings += 1
        late = Deadline.after(within_s, asyncio.get_running_loop().time)
        await within(late, asyncio.sleep(takes_s if takes_s is not None else 1_000))


def test_one_that_answers_no_ping_is_silent() -> None:
    async def main() -> None:
        assert await Stage(one=None).pulse.is_silent()
        assert not await Stage(one=0.5).pulse.is_silent()
        assert not await Stage(one=None, two=0.5).pulse.is_silent()
        assert not await Stage().pulse.is_silent(), "what waits for a replica is not ignored by one"

    virtual_time.run(main())


def test_one_that_has_been_replaced_meanwhile_is_not_silent() -> None:
    async def main() -> None:
        stage = Stage(one=None)
        asking = asyncio.create_task(stage.pulse.is_silent())
        await asyncio.sleep(1)
        stage.answers_s = {"next": None}
        assert not await asking

    virtual_time.run(main())


def test_one_that_was_silent_is_so_until_a_replica_answers() -> None:
    async def main() -> None:
        stage = Stage(one=None)
        assert await stage.pulse.is_silent()
        stage.answers_s = {}
        assert await stage.pulse.is_silent(), "it has ended, and no other is there"
        stage.answers_s = {"next": 0.1}
        assert not await stage.pulse.is_silent()
        stage.answers_s = {}
        assert not await stage.pulse.is_silent(), "one that answered is waited for again"

    virtual_time.run(main())


def test_a_ping_that_fails_is_an_answer() -> None:
    async def fail(_: float) -> None:
        raise StageUnavailable("gone")

    async def main() -> None:
        assert not await Pulse(fail, lambda: frozenset({"one"})).is_silent()

    virtual_time.run(main())


def test_one_that_recovered_is_heard_beside_one_that_ended() -> None:
    """The ping to the one that has ended fails before the other is answered."""

    async def main() -> None:
        stage = Stage(ended=None, recovered=None)
        asked = 0

        async def ping(within_s: float) -> None:
            nonlocal asked
            asked += 1
            if stage.answers_s["recovered"] is not None and asked % 2:
                raise StageUnavailable("it has ended")
            await stage.ping(within_s)

        pulse = Pulse(ping, lambda: frozenset(stage.answers_s))
        assert await pulse.is_silent()
        stage.answers_s = {"ended": 0.005, "recovered": 0.005}
        assert not await pulse.is_silent()

    virtual_time.run(main())


def test_one_that_answers_a_call_is_silent_no_more() -> None:
    async def main() -> None:
        stage = Stage(one=None, two=None)
        hedging = Hedging(asyncio.get_running_loop().time, stage.pulse)
        assert await stage.pulse.is_silent()
        await hedging.first(lambda: asyncio.sleep(0.01))
        assert not stage.pulse.was_silent

    virtual_time.run(main())


def test_those_who_ask_together_share_the_pings() -> None:
    async def main() -> None:
        stage = Stage(one=None)
        asked = [asyncio.create_task(stage.pulse.is_silent()) for _ in range(20)]
        await asyncio.sleep(0.1)
        asked[0].cancel()  # one whose client has gone
        assert all(await asyncio.gather(*asked[1:]))
        assert stage.pings == 2

    virtual_time.run(main())


class Stuck:
    """A call that nobody answers, and how often it was made."""

    def __init__(self) -> None:
        self.made = 0

    async def __call__(self) -> None:
        self.made += 1
        await asyncio.sleep(1_000)


@pytest.mark.parametrize(("running", "calls", "ends_s"), [(1, 1, 3), (2, 2, 4)])
def test_a_call_that_nobody_answers_ends_within_five_seconds(
    running: int, calls: int, ends_s: float
) -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        stage = Stage(**{str(number): None for number in range(running)})
        hedging = Hedging(clock, stage.pulse)
        call = Stuck()
        with pytest.raises(StageSilent):
            await hedging.first(call)
        assert clock() == pytest.approx(ends_s)
        assert call.made == calls, "again only where there is another replica"

    virtual_time.run(main())


def test_the_next_to_call_a_silent_replica_waits_for_a_ping_alone() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        stage = Stage(one=None)
        hedging = Hedging(clock, stage.pulse)

        async def waits_s(call_s: float) -> float:
            began_s = clock()
            with pytest.raises(StageSilent):
                await hedging.first(lambda: asyncio.sleep(call_s))
            return clock() - began_s

        assert await waits_s(1_000) == pytest.approx(3)
        assert await waits_s(1_000) == pytest.approx(2)
        stage.answers_s = {"one": 0.1}
        await hedging.first(lambda: asyncio.sleep(10))
        stage.answers_s = {"one": None}
        assert await waits_s(1_000) == pytest.approx(3), "it had answered meanwhile"

    virtual_time.run(main())


def test_a_call_that_may_not_be_made_again_ends_where_nobody_answers() -> None:
    async def main() -> None:
        clock = asyncio.get_running_loop().time
        hedging = Hedging(clock, Stage(one=None, two=None).pulse, most_tries=1)
        call = Stuck()
        with pytest.raises(StageSilent):
            await hedging.first(call)
        assert call.made == 1
        assert clock() == pytest.approx(4)

    virtual_time.run(main())


def test_a_long_call_to_a_replica_with_a_pulse_is_waited_for() -> None:
    async def main() -> None:
        hedging = Hedging(asyncio.get_running_loop().time, Stage(one=0.1).pulse)
        made = 0

        async def call() -> int:
            nonlocal made
            made += 1
            await asyncio.sleep(60)
            return made

        assert await hedging.first(call) == 1

    virtual_time.run(main())
