"""The page at /ui during a load test: pictures of a search and of the cluster's health.

Takes the pictures; starts neither the load nor the cluster.
"""

from pathlib import Path

from playwright.sync_api import Browser, Page, Response, ViewportSize

from cluster.commands.demo import COLLECTION
from loadtest.browser import chromium, running_browser, search, sign_in
from loadtest.pictures import save_picture

_SIZE: ViewportSize = {"width": 1100, "height": 760}
# Not one of the demo's, whose vectors are in the cache.
_QUERY = "Who composed concertos about spring, summer, autumn and winter"
_DRAWN_MS = 600
_PATIENCE_MS = 60_000


class NoBrowserError(Exception):
    """There is no Chromium."""


def take_pictures(url: str, key: str, directory: Path) -> str:
    """Write panels-search.png and panels-cluster.png; return the id of the search's trace.

    The service at `url` holds the demo's collection. Raises NoBrowserError.
    """
    path = chromium()
    if path is None:
        raise NoBrowserError("there is no Chromium: install Debian's package chromium")
    with running_browser(path) as browser:
        page = _signed_in(browser, url, key)
        with page.expect_response(_is_reranked) as answer:
            search(page, COLLECTION, _QUERY)
        save_picture(page.screenshot(), directory / "panels-search.png")
        page.evaluate("location.hash = '#cluster'")
        page.locator(".stage-card").first.wait_for()
        page.wait_for_timeout(_DRAWN_MS)
        save_picture(page.screenshot(), directory / "panels-cluster.png")
        return trace_of(answer.value.headers["traceresponse"])


def trace_of(header: str) -> str:
    """The id of the trace in a `traceresponse`."""
    return header.split("-")[1]


def _signed_in(browser: Browser, url: str, key: str) -> Page:
    page = browser.new_context(viewport=_SIZE, color_scheme="light").new_page()
    page.set_default_timeout(_PATIENCE_MS)
    sign_in(page, url, key)
    return page


def _is_reranked(answer: Response) -> bool:
    """Whether it answers the reranked one of two searches, which the trace shall show."""
    if not answer.url.endswith("/v1/search"):
        return False
    asked = answer.request.post_data_json
    return bool(asked and asked["rerank"])
