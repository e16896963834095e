"""A real headless Chromium for tests, Debian's, driven by Playwright.

A fixture of a module and not of the session: while Playwright runs, no other event loop can run in
its thread, and other modules have tests that need one.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

_PACKAGES = ("chromium", "fonts-inter", "fonts-dejavu-core")
_INSTALL_TIMEOUT_S = 600
# No sandbox: tests may run as root. The rest keeps it from asking hosts elsewhere.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


def chromium() -> str | None:
    """Its path, once Debian's package is installed if need be; None where it cannot be."""
    with FileLock(Path(tempfile.gettempdir()) / "winnow-chromium.lock"):
        found = shutil.which("chromium")
        if found or os.geteuid() != 0 or shutil.which("apt-get") is None:
            return found
        for command in (["update"], ["install", "-y", "--no-install-recommends", *_PACKAGES]):
            subprocess.run(
                ["apt-get", "-q", *command],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_INSTALL_TIMEOUT_S,
                check=False,
            )
        return shutil.which("chromium")


@contextmanager
def running_browser(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("there is no Chromium: install Debian's package chromium")
    with running_browser(path) as browser:
        yield browser


class Complaints:
    """What the browser complained of on a page: errors in its console, violations of the content
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


def sign_in(page: Page, url: str, key: str) -> None:
    page.goto(f"{url}/ui")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Open").click()
