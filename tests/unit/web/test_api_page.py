"""The API page works where there is no internet: all that it loads comes from here."""

import re

import pytest

from tests.unit.service import TestService


@pytest.mark.parametrize("page", ["/docs", "/redoc", "/docs/oauth2-redirect"])
async def test_a_page_loads_nothing_from_elsewhere(service: TestService, page: str) -> None:
    answer = await service.send("GET", page)
    assert answer.status_code == 200
    assert "http" not in re.sub(r"https?://www\.w3\.org/\S+", "", answer.text)
    loaded = re.findall(r"""(?:src|href|spec-url|url)\s*[=:]\s*["']([^"']+)["']""", answer.text)
    assert page.endswith("redirect") or len(loaded) >= 3
    for url in loaded:
        assert url.startswith("/"), url
        asset = await service.send("GET", url)
        assert asset.status_code == 200, url
        assert asset.content


@pytest.mark.parametrize("path", ["/", "/v1/nothing"])
async def test_what_is_not_there_names_the_page(service: TestService, path: str) -> None:
    answer = await service.send("GET", path)
    assert answer.status_code == 404
    assert "/docs" in answer.json()["error"]["message"]
