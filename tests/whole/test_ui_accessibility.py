"""Accessibility of the page at /ui: the keyboard, both colour schemes, and a phone."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.whole.ui import COLLECTION, NARROW, WIDE, search

pytestmark = pytest.mark.usefixtures("ui_documents")


def test_the_keyboard_is_enough(signed_in: Page) -> None:
    keys = signed_in.keyboard
    signed_in.evaluate("document.activeElement.blur()")
    keys.press("/")
    expect(signed_in.get_by_role("searchbox", name="Query")).to_be_focused()
    keys.type("sea t/?j")
    keys.press("Enter")
    rows = signed_in.locator("#after .row-head")
    expect(rows.first).to_be_visible()
    keys.press("Escape")
    keys.press("j")
    expect(rows.nth(0)).to_be_focused()
    keys.press("j")
    keys.press("j")
    keys.press("k")
    expect(rows.nth(1)).to_be_focused()
    keys.press("Enter")
    expect(rows.nth(1)).to_have_attribute("aria-expanded", "true")
    expect(signed_in.locator("#after .detail:visible")).to_have_count(1)
    signed_in.get_by_role("button", name="Show all").click()
    rows.nth(1).focus()
    id = signed_in.locator("#after .row").nth(1).get_attribute("data-id")
    keys.press("h")
    expect(signed_in.locator(f"#before .row[data-id='{id}'] .row-head")).to_be_focused()
    keys.press("l")
    expect(rows.nth(1)).to_be_focused()
    keys.press("?")
    expect(signed_in.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(signed_in.get_by_role("dialog")).to_be_hidden()
    for digit, title in (("2", "Collections"), ("3", "Usage"), ("4", "Cluster")):
        keys.press(digit)
        expect(signed_in.get_by_role("heading", name=title, exact=True)).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_schemes_are_accessible(signed_in: Page, scheme: str) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    signed_in.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    assert _is_dark(signed_in) == (scheme == "dark")
    _require_accessible(signed_in)
    signed_in.get_by_role("button", name="Dark theme").click()
    assert _is_dark(signed_in) == (other == "dark")
    signed_in.reload()
    assert _is_dark(signed_in) == (other == "dark")
    _require_accessible(signed_in)


def test_every_view_is_accessible_and_fits_a_phone(signed_in: Page) -> None:
    search(signed_in)
    signed_in.locator("#after .row-head").first.click()
    for width in (WIDE, NARROW):
        signed_in.set_viewport_size(width)
        for view in (
            "#search",
            "#collections",
            f"#collections/{COLLECTION}",
            "#usage",
            "#cluster",
        ):
            signed_in.evaluate("(hash) => { location.hash = hash; }", view)
            expect(signed_in.locator(".view:visible")).to_have_count(1)
            expect(signed_in.locator(".waiting")).to_have_count(0)
            overflow = "document.documentElement.scrollWidth - innerWidth"
            assert signed_in.evaluate(overflow) <= 0, (width, view)
            _require_accessible(signed_in)
            signed_in.emulate_media(color_scheme="dark")
            _require_accessible(signed_in)
            signed_in.emulate_media(color_scheme="light")


def _is_dark(page: Page) -> bool:
    red = "Number(getComputedStyle(document.body).backgroundColor.match(/[0-9]+/)[0])"
    return bool(page.evaluate(red) < 128)


def _require_accessible(page: Page) -> None:
    for found in Axe().run(page).response["violations"]:
        pytest.fail(f"{found['id']}: {[node['html'] for node in found['nodes']]}")
