"""The page at /ui, by which people try the service: plain files, to anyone, since they hold nothing
secret. What they show they ask of the public API, with a key that the user types.

Knows no route of the API and no key.
"""

import os
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PATH = "/ui"
_FILES = Path(__file__).parent / "ui"
_HEADERS = {
    # Scripts, styles and answers of this origin alone; no frame may hold the page.
    "content-security-policy": "; ".join(
        [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
        ]
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Kept, and asked for again by its ETag: after an upgrade no old script meets a new API.
    "cache-control": "no-cache",
}


class _Page(StaticFiles):
    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)
        return response


def add_ui(app: Starlette) -> None:
    """Serve the page's files under PATH. Call it last: routes are tried in order."""

    async def to_the_page(_: Request) -> Response:
        # Relative, so that it holds behind a proxy that adds a prefix.
        return RedirectResponse(f"{PATH.removeprefix('/')}/")

    app.add_route(PATH, to_the_page, include_in_schema=False)
    app.mount(PATH, _Page(directory=_FILES, html=True))
