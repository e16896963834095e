"""A real headless Chromium, Debian's, driven by Playwright, and the page at /ui in it.

For tests, and for whoever takes pictures for the documentation.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from playwright.sync_api import Browser, Page, sync_playwright

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


def sign_in(page: Page, url: str, key: str) -> None:
    """Open the page of the service at `url` with an API key."""
    page.goto(f"{url}/ui")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Open").click()


def search(page: Page, collection: str, query: str) -> None:
    """Search on the page, and return when both answers are drawn."""
    page.locator("#collection").select_option(collection)
    page.get_by_role("searchbox", name="Query").fill(query)
    page.keyboard.press("Enter")
    page.locator("#after .row").first.wait_for()
    page.locator("#query").blur()
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)  # the lines are drawn once the rows have their places
