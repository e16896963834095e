"""Headers that pass the edge to Serve, and those that do not."""

from typing import Any

import pytest

from deployments.web.header_filter import HeaderFilter, middlewares


async def passed(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    seen: list[Any] = []

    async def app(scope: Any, *_: Any) -> None:
        seen.extend(scope["headers"])

    await HeaderFilter(app)({"type": "http", "headers": list(headers)}, None, None)  # type: ignore[arg-type] # not called
    return seen


@pytest.mark.parametrize(
    "name",
    [
        b"x-request-timeout-seconds",
        b"x-request-disconnect-disabled",
        b"x-session-id",
        b"X-Session_ID",
        b"serve_multiplexed_model_id",
        b"serve-multiplexed-model-id",
        b"x-serve-router-anything",
    ],
)
async def test_what_commands_serve_is_dropped(name: bytes) -> None:
    kept = (b"authorization", b"Bearer x")
    assert await passed(kept, (name, b"1")) == [kept]


@pytest.mark.parametrize("id", [b"a", b"5f-3.A_b", b"x" * 128])
async def test_a_well_formed_request_id_is_the_callers(id: bytes) -> None:
    assert await passed((b"x-request-id", id)) == [(b"x-request-id", id)]


@pytest.mark.parametrize("id", [b"", b"x" * 129, b"a b", b"a\n", b"\xff", b"<a>"])
async def test_another_is_replaced(id: bytes) -> None:
    assert await passed((b"x-request-id", id)) == []


def test_serve_is_given_the_edge() -> None:
    [given] = middlewares()
    assert given.cls is HeaderFilter  # type: ignore[comparison-overlap] # starlette's factory is any class
