"""Errors that are raised below our own routes: they keep their status."""

import httpx
import pytest
from fastapi import FastAPI
from starlette.exceptions import HTTPException

from deployments.web.dialects import openai
from deployments.web.error_handlers import add_error_handlers


@pytest.mark.parametrize(
    ("status", "answered"),
    [(400, 400), (401, 401), (403, 403), (413, 413), (415, 415), (418, 400), (501, 500)],
)
async def test_an_error_of_the_framework_keeps_its_status(status: int, answered: int) -> None:
    app = FastAPI()
    add_error_handlers(app, [("/", openai.render_error)])

    @app.get("/")
    async def fail() -> None:
        raise HTTPException(status, "no")

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://winnow") as client:
        answer = await client.get("/")
    assert answer.status_code == answered
    assert answer.json()["error"]["message"] == "no"
