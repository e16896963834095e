"""A real headless Chromium for tests.

A fixture of a module and not of the session: while Playwright runs, no other event loop can run in
its thread, and other modules have tests that need one.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Dialog, Page

from loadtest.browser import chromium, running_browser, sign_in

__all__ = ["Complaints", "browser", "sign_in"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("there is no Chromium: install Debian's package chromium")
    with running_browser(path) as browser:
        yield browser


class Complaints:
    """Complaints of the browser about a page: errors in its console, violations of the content
    security policy among them, exceptions, dialogs that a script opened, other origins."""

    def __init__(self, page: Page, origin: str) -> None:
        self.found: list[str] = []
        page.on("console", lambda said: self._note(said.type == "error", said.text))
        page.on("pageerror", lambda error: self._note(True, str(error)))
        page.on("request", lambda one: self._note(not one.url.startswith(origin), one.url))
        page.on("dialog", self._dismiss)

    def _dismiss(self, dialog: Dialog) -> None:
        self._note(True, dialog.message)
        dialog.dismiss()

    def _note(self, wrong: bool, what: str) -> None:
        if wrong:
            self.found.append(what)
