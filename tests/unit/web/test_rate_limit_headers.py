"""Requests that a plan lets in or refuses, and the headers that tell the caller."""

import asyncio
from typing import Any

import openai
import pytest
from httpx import ASGITransport, AsyncClient

from deployments.request.origin import Origin
from deployments.tenants.plans import Plans
from deployments.tenants.rate_limits.limiter import Limiter, RateDecision
from deployments.web.rate_limit_headers import duration
from tests.unit.service import TestService

EMBED = {"model": "embedder", "input": ["a", "b", "c"]}


async def embed(service: TestService, texts: int = 3, **request: Any) -> Any:
    body = EMBED | {"input": ["a"] * texts}
    return await service.post("/v1/embeddings", json=body, **request)


async def test_without_limits_no_headers_speak_of_them(service: TestService) -> None:
    answer = await embed(service)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


async def test_every_answer_of_a_limited_tenant_tells_what_is_left(service: TestService) -> None:
    service.plan(requests_per_min=10, tokens_per_min=100)
    headers = (await embed(service)).headers
    assert headers["x-ratelimit-limit-requests"] == "10"
    assert headers["x-ratelimit-remaining-requests"] == "9"
    assert headers["x-ratelimit-reset-requests"] == "6s"
    assert headers["x-ratelimit-limit-tokens"] == "100"
    assert headers["x-ratelimit-remaining-tokens"] == "97"
    assert headers["x-ratelimit-reset-tokens"] == "2s"
    invalid = await service.post("/v1/embeddings", json={})
    listed = await service.send("GET", "/v1/models")
    absent = await service.send("GET", "/v1/models/none")
    assert [one.status_code for one in (invalid, listed, absent)] == [400, 200, 404]
    for left, answer in zip((8, 7, 6), (invalid, listed, absent), strict=True):
        assert answer.headers["x-ratelimit-remaining-requests"] == str(left)
        assert answer.headers["x-ratelimit-remaining-tokens"] == "97"


async def test_what_a_charge_tells_is_not_asked_for_again(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, int]] = []
    limiter = service.admission.limiter

    async def noted(name: str, cost: int, per_min: int) -> RateDecision:
        taken.append((name.partition(":")[2], cost))
        return await take(name, cost, per_min)

    take = limiter.take
    monkeypatch.setattr(limiter, "take", noted)
    service.plan(requests_per_min=10, tokens_per_min=100)
    await embed(service)
    assert taken == [("requests", 1), ("tokens", 3)]
    taken.clear()
    await service.send("GET", "/v1/models")
    assert taken == [("requests", 1), ("tokens", 0)]


async def test_one_request_too_many_is_told_when_to_come_again(service: TestService) -> None:
    service.plan(requests_per_min=2)
    assert [(await embed(service)).status_code for _ in range(3)] == [200, 200, 429]
    refused = await embed(service)
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert 28 <= int(refused.headers["retry-after"]) <= 30
    assert refused.headers["x-should-retry"] == "true"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    other = await embed(service, key=await service.new_key("other"))
    assert other.status_code == 200


async def test_a_tenants_keys_share_its_limits(service: TestService) -> None:
    service.plan(requests_per_min=1)
    second = await service.new_key("tenant")
    assert (await embed(service)).status_code == 200
    assert (await embed(service, key=second)).status_code == 429


async def test_tokens_are_charged_exactly_and_before_the_work(service: TestService) -> None:
    service.plan(tokens_per_min=10)
    assert (await embed(service, 7)).status_code == 200
    refused = await embed(service, 4)
    assert refused.status_code == 429
    assert "10 tokens a minute" in refused.json()["error"]["message"]
    assert (await embed(service, 3)).status_code == 200
    used = (await service.send("GET", "/v1/usage", params={"since": 0})).json()["usage"]
    assert [(one["requests"], one["tokens"]) for one in used] == [(2, 10)]


async def test_what_could_never_be_let_in_is_not_told_to_come_again(service: TestService) -> None:
    service.plan(tokens_per_min=10)
    refused = await embed(service, 11)
    assert refused.status_code == 413
    assert "11 tokens" in refused.json()["error"]["message"]
    assert "retry-after" not in refused.headers
    assert refused.headers["x-should-retry"] == "false"
    assert refused.headers["x-ratelimit-remaining-tokens"] == "10"


async def test_so_many_at_once_and_a_place_is_given_back(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.plan(concurrent_requests=2)
    inside, leave = asyncio.Semaphore(0), asyncio.Event()
    embed_documents = service.pipeline.embed_documents

    async def slow(*arguments: Any) -> Any:
        inside.release()
        await leave.wait()
        return await embed_documents(*arguments)

    monkeypatch.setattr(service.pipeline, "embed_documents", slow)
    running = [asyncio.create_task(embed(service)) for _ in range(2)]
    for _ in running:
        await inside.acquire()
    refused = await embed(service)
    assert refused.status_code == 429
    assert "2 concurrent requests" in refused.json()["error"]["message"]
    running[0].cancel()
    await asyncio.gather(running[0], return_exceptions=True)
    leave.set()
    assert (await embed(service)).status_code == 200
    assert (await running[1]).status_code == 200
    assert (await service.post("/v1/embeddings", json={})).status_code == 400
    assert not service.admission.slots.held("tenant")


async def test_a_router_holds_no_more_than_its_places_and_keeps_everyones_share(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.admission.configure(Plans(requests_at_once=4))
    other = await service.new_key("other")
    leave = asyncio.Event()
    embed_documents = service.pipeline.embed_documents

    async def slow(*arguments: Any) -> Any:
        await leave.wait()
        return await embed_documents(*arguments)

    monkeypatch.setattr(service.pipeline, "embed_documents", slow)
    running = [asyncio.create_task(embed(service)) for _ in range(4)]
    while service.admission.slots.held("tenant") < 4:
        await asyncio.sleep(0)
    refused = await embed(service)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
    assert refused.headers["retry-after"] == "1"
    running += [asyncio.create_task(embed(service, key=other)) for _ in range(2)]
    while service.admission.slots.held("other") < 2:
        await asyncio.sleep(0)
    assert (await embed(service, key=other)).status_code == 503
    leave.set()
    assert {one.status_code for one in await asyncio.gather(*running)} == {200}


async def test_the_plan_gives_weight_and_lane(service: TestService) -> None:
    seen: list[Origin] = []

    async def noting(_: Any, __: Any, context: Any) -> Any:
        seen.append(context.origin)
        raise TimeoutError

    service.pipeline.embed_documents = noting
    for limits in ({"weight": 3.0}, {"lanes": ["bulk"]}):
        service.plan(**limits)
        with pytest.raises(TimeoutError):
            await embed(service)
    assert seen == [Origin("tenant", "default", 3.0), Origin("tenant", "bulk", 1.0)]
    service.plan(lanes=["interactive"])
    refused = await embed(service)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "lane_not_allowed")


class UsedUp:
    """A limiter that finds the whole limit taken when it is first asked."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._asked = False

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        if not self._asked:
            self._asked = True
            await self._limiter.take(name, per_min, per_min)
        return await self._limiter.take(name, cost, per_min)

    async def give_back(self, name: str, cost: int, per_min: int) -> None:
        await self._limiter.give_back(name, cost, per_min)


async def test_openais_client_waits_and_comes_again(service: TestService) -> None:
    service.plan(requests_per_min=120)  # the next one in half a second
    service.admission.limiter = UsedUp(service.admission.limiter)
    transport = ASGITransport(service.app)
    client = openai.AsyncOpenAI(
        api_key=service.key,
        base_url="http://winnow/v1",
        max_retries=3,
        http_client=AsyncClient(transport=transport),  # type: ignore[arg-type] # a fork of httpx
    )
    # Last before the call: one request comes back each half second.
    await service.admission.limiter.take("tenant:requests", 120, 120)
    answer = await client.embeddings.with_raw_response.create(
        model="embedder", input="a", encoding_format="float"
    )
    assert answer.retries_taken >= 1
    assert answer.headers["x-ratelimit-limit-requests"] == "120"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.0165, "17ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (3700.5, "61m41s")],
)
def test_a_duration_is_written_as_go_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
