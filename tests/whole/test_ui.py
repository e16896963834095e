"""The page at /ui in a real browser, over the whole application."""

import json
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from deployments.errors import Overloaded
from deployments.reranker import Reranker
from tests.browser import Complaints, browser, sign_in
from tests.whole.app import WholeApp

__all__ = ["browser"]

_COLLECTION = "ui-seen"
_EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
# The engine ranks short ones first, and retrieves those first that are mostly of the sea.
_DOCUMENTS = [
    {
        "id": f"d{number:02}",
        "text": "sea " * (number * 7 % 31) + "salt " * (1 + number * 11 % 7),
        "metadata": {"title": f"Title {number}"},
    }
    for number in range(1, 31)
]
_WIDE: ViewportSize = {"width": 1280, "height": 800}
_NARROW: ViewportSize = {"width": 360, "height": 740}


@pytest.fixture(scope="module", autouse=True)
def _documents(whole: WholeApp, url: str) -> None:
    with whole.client(url, "bob") as client:
        path = f"/v1/collections/{_COLLECTION}"
        client.put(path)
        documents = [*_DOCUMENTS, {"id": _EVIL, "text": _EVIL, "metadata": {"title": _EVIL}}]
        assert client.post(f"{path}/documents", json={"documents": documents}).status_code == 200


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=_WIDE)
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def watched(page: Page, url: str) -> Iterator[Page]:
    """A page of which the browser may complain of nothing."""
    complaints = Complaints(page, url)
    yield page
    assert complaints.found == []


@pytest.fixture
def signed_in(watched: Page, whole: WholeApp, url: str) -> Page:
    sign_in(watched, url, whole.keys["bob"])
    watched.get_by_label("Collection", exact=True).select_option(_COLLECTION)
    return watched


def _search(page: Page, query: str = "sea") -> None:
    page.get_by_role("searchbox", name="Query").fill(query)
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#after .row").first).to_be_visible()


def test_a_search_stands_beside_itself_without_rerank(
    signed_in: Page, whole: WholeApp, url: str
) -> None:
    _search(signed_in)
    asked = {"collection": _COLLECTION, "query": "sea", "top_k": 30, "top_n": 30}
    with whole.client(url, "bob") as client:
        before, after = (
            [one["id"] for one in client.post("/v1/search", json=body).json()["results"]]
            for body in (asked | {"rerank": False}, asked)
        )
    assert before != after
    for side, ids in (("before", before), ("after", after)):
        rows = signed_in.locator(f"#{side} .row")
        assert [row.get_attribute("data-id") for row in rows.all()] == ids
        expect(signed_in.locator(f"#{side} .row:visible")).to_have_count(10)
    for rank, row in enumerate(signed_in.locator("#after .row:visible").all(), 1):
        was = before.index(after[rank - 1]) + 1
        words = "kept its rank" if was == rank else f"from rank {was}"
        assert words in (row.locator(".move .unseen").text_content() or "")
    for side, stages in (
        ("side-before", ["tokenize", "embed", "retrieve", "rest"]),
        ("side-after", ["tokenize", "embed", "retrieve", "rerank", "rest"]),
    ):
        legend = signed_in.locator(f".{side} .legend li").all_text_contents()
        assert [one.split()[0] for one in legend] == stages
    expect(signed_in.get_by_role("status")).to_contain_text("Reranking 30 candidates took")
    signed_in.get_by_role("button", name="Show all 30 candidates").click()
    expect(signed_in.locator("#after .row:visible")).to_have_count(30)
    expect(signed_in.locator(".line")).to_have_count(30)


def test_a_document_is_text_whatever_it_holds(signed_in: Page) -> None:
    _search(signed_in, _EVIL)
    for row in signed_in.locator(f"#after .row[data-id={json.dumps(_EVIL)}]").all():
        row.locator(".row-head").evaluate("(head) => head.click()")
        assert row.locator(".title").text_content() == _EVIL
        assert row.locator(".full").text_content() == _EVIL
    signed_in.get_by_role("link", name="Collections").click()
    signed_in.get_by_role("link", name=_COLLECTION).click()
    signed_in.get_by_label("Id", exact=True).fill(_EVIL)
    signed_in.get_by_role("button", name="Show").click()
    expect(signed_in.locator("#view-collections .full")).to_have_text(_EVIL)
    assert signed_in.locator("img:not([src='icon.svg']), main script").count() == 0


def test_a_wrong_key_is_told_and_kept_nowhere(page: Page, url: str) -> None:
    sign_in(page, url, "wn_live_nobodys")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The key was not accepted")
    expect(alert).to_contain_text("API key")
    expect(page.get_by_label("API key")).to_be_focused()
    assert page.evaluate("sessionStorage.length") == 0


def test_the_key_stays_in_memory_unless_the_tab_is_to_keep_it(
    watched: Page, whole: WholeApp, url: str
) -> None:
    page = watched
    key = whole.keys["bob"]
    sign_in(page, url, key)
    expect(page.get_by_role("searchbox", name="Query")).to_be_focused()
    stored = "JSON.stringify([sessionStorage, localStorage, document.cookie, location.href])"
    assert key not in page.evaluate(stored)
    page.reload()
    page.get_by_label("Keep it").check()
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("searchbox", name="Query")).to_be_visible()
    page.reload()
    expect(page.get_by_role("searchbox", name="Query")).to_be_visible()
    page.get_by_role("button", name="Forget key").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert key not in page.evaluate(stored)


def test_an_error_says_what_to_change(signed_in: Page) -> None:
    signed_in.get_by_label("Filter").fill("year > 2010")
    signed_in.get_by_role("searchbox", name="Query").fill("sea")
    signed_in.keyboard.press("Enter")
    expect(signed_in.get_by_role("alert")).to_contain_text("The filter is not JSON")
    signed_in.get_by_label("Filter").fill("")
    _search(signed_in)
    expect(signed_in.get_by_role("alert")).to_be_hidden()


def test_what_the_api_refuses_is_shown_in_its_own_words(
    page: Page, whole: WholeApp, url: str
) -> None:
    sign_in(page, url, whole.keys["bob"])
    page.get_by_label("Filter").fill('{"year": {"$near": 2010}}')
    page.get_by_role("searchbox", name="Query").fill("sea")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The request must change.")
    expect(page.get_by_role("alert")).to_contain_text("$near")


def _search_before_the_collections(page: Page, url: str, key: str) -> Route:
    """The request for the collections, held back, after a search was asked for."""
    held: list[Route] = []
    page.route("**/v1/collections", lambda route: held.append(route))
    with page.expect_request("**/v1/collections"):
        sign_in(page, url, key)
    page.get_by_role("searchbox", name="Query").fill("sea")
    page.keyboard.press("Enter")
    return held[0]


def test_a_search_before_the_collections_are_there_waits_for_them(
    page: Page, whole: WholeApp, url: str
) -> None:
    held = _search_before_the_collections(page, url, whole.keys["bob"])
    expect(page.get_by_role("status")).to_contain_text("Searching")
    expect(page.get_by_role("alert")).to_be_hidden()
    with page.expect_response("**/v1/search") as answer:
        held.continue_()
    assert answer.value.status == 200
    expect(page.get_by_role("status")).not_to_contain_text("Searching")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_search_of_a_tenant_without_collections_says_how_to_make_one(
    page: Page, whole: WholeApp, url: str
) -> None:
    held = _search_before_the_collections(page, url, whole.keys["bob"])
    held.fulfill(json={"collections": []})
    expect(page.get_by_role("heading", name="No collections yet")).to_be_visible()
    expect(page.get_by_role("status")).not_to_contain_text("Searching")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_a_degraded_answer_is_marked(signed_in: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> Overloaded:
        return Overloaded("no room")

    monkeypatch.setattr(Reranker, "submit", refuse)
    signed_in.get_by_label("Rather unranked than late").check()
    _search(signed_in)
    expect(signed_in.get_by_role("heading", name="Degraded")).to_be_visible()
    expect(signed_in.get_by_role("status")).to_contain_text("both sides are in retrieval order")
    expect(signed_in.locator(".move")).to_have_count(0)


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


def test_documents_are_turned_a_page_at_a_time(signed_in: Page) -> None:
    signed_in.get_by_role("link", name="Collections").click()
    row = signed_in.get_by_role("row").filter(has_text=_COLLECTION)
    expect(row).to_contain_text("31")
    signed_in.get_by_role("link", name=_COLLECTION).click()
    expect(signed_in.locator(".row")).to_have_count(25)
    first = signed_in.locator(".row .title").first.text_content()
    signed_in.get_by_role("button", name="Next").click()
    expect(signed_in.locator(".row")).to_have_count(6)
    expect(signed_in.get_by_role("button", name="Next")).to_be_disabled()
    signed_in.get_by_role("button", name="Before").click()
    expect(signed_in.locator(".row .title").first).to_have_text(first or "")


def test_usage_and_stages_are_those_of_the_api(signed_in: Page) -> None:
    _search(signed_in)
    signed_in.get_by_role("link", name="Usage").click()
    expect(signed_in.get_by_role("row").filter(has_text="rerank")).to_be_visible()
    expect(signed_in.locator("#view-usage .lead")).to_contain_text("Tenant bob")
    signed_in.get_by_role("link", name="Cluster").click()
    expect(signed_in.locator(".stage-card")).to_have_count(3)
    expect(signed_in.locator("#health")).to_have_text("Ready")
    replicas = signed_in.get_by_role("row").filter(has_text="tokens")
    expect(replicas.filter(has_text="Embed")).to_have_count(1)
    expect(replicas.filter(has_text="Rerank")).to_have_count(1)


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
    _search(signed_in)
    signed_in.locator("#after .row-head").first.click()
    for width in (_WIDE, _NARROW):
        signed_in.set_viewport_size(width)
        for view in (
            "#search",
            "#collections",
            f"#collections/{_COLLECTION}",
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
