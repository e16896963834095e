"""Take the pictures of docs/ui.md from the running service: `python -m tests.screenshots`.

`--all DIRECTORY` takes one of every view, wide and narrow, for whoever changes the page.
"""

import argparse
from pathlib import Path

from playwright.sync_api import Browser, Page, ViewportSize

from cluster.commands.demo import COLLECTION
from cluster.commands.session import open_state, running_cluster
from loadtest.browser import chromium, running_browser, search, sign_in
from loadtest.pictures import save_picture
from tests.pages import ROOT

_WIDE: ViewportSize = {"width": 1280, "height": 800}
_NARROW: ViewportSize = {"width": 360, "height": 740}
# Not those of the demo, whose vectors are in the cache.
_QUERIES = {
    "light": "Who composed concertos about spring, summer, autumn and winter",
    "dark": "How does a vaccine protect people from a disease?",
}
_VIEWS = {
    "collections": "#collections",
    "documents": f"#collections/{COLLECTION}",
    "usage": "#usage",
    "cluster": "#cluster",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, metavar="DIRECTORY")
    directory: Path | None = parser.parse_args().all
    state = open_state()
    url, key = running_cluster(state).url, state.api_key()
    path = chromium()
    if path is None:
        raise SystemExit("there is no Chromium: install Debian's package chromium")
    with running_browser(path) as browser:
        images = ROOT / "docs" / "images"
        images.mkdir(exist_ok=True)
        for scheme in ("light", "dark"):
            page = _searched(browser, url, key, scheme)
            save_picture(page.screenshot(), images / f"ui-search-{scheme}.png")
            page.context.close()
        if directory is not None:
            directory.mkdir(exist_ok=True)
            _take_all(browser, url, key, directory)


def _searched(browser: Browser, url: str, key: str, scheme: str) -> Page:
    page = browser.new_context(viewport=_WIDE, color_scheme=scheme).new_page()  # type: ignore[arg-type]
    sign_in(page, url, key)
    search(page, COLLECTION, _QUERIES[scheme])
    return page


def _take_all(browser: Browser, url: str, key: str, directory: Path) -> None:
    page = browser.new_context(viewport=_WIDE).new_page()
    page.goto(f"{url}/ui")
    page.wait_for_timeout(500)
    page.screenshot(path=directory / "signin.png")
    page.context.close()
    for scheme in ("light", "dark"):
        page = _searched(browser, url, key, scheme)
        page.screenshot(path=directory / f"search-{scheme}.png")
        page.locator("#after .row-head").nth(1).click()
        page.screenshot(path=directory / f"open-{scheme}.png")
        for name, hash in _VIEWS.items():
            page.evaluate("(hash) => { location.hash = hash; }", hash)
            page.wait_for_timeout(600)
            page.screenshot(path=directory / f"{name}-{scheme}.png")
        page.keyboard.press("?")
        page.screenshot(path=directory / f"help-{scheme}.png")
        page.context.close()
    page = _searched(browser, url, key, "light")
    page.set_viewport_size(_NARROW)
    page.wait_for_timeout(300)
    page.screenshot(path=directory / "narrow.png", full_page=True)
    page.evaluate("location.hash = '#usage'")
    page.wait_for_timeout(600)
    page.screenshot(path=directory / "narrow-usage.png")
    page.locator("#health").evaluate("() => { location.hash = '#search'; }")
    page.get_by_label("Filter").fill('{"year": {"$near": 1}}')
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    page.set_viewport_size(_WIDE)
    page.screenshot(path=directory / "error.png")


if __name__ == "__main__":
    main()
