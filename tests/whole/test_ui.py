"""The page at /ui in a real browser, over the whole application."""

import json

import pytest
from playwright.sync_api import Page, Route, expect

from deployments.errors import Overloaded
from deployments.reranker import Reranker
from tests.browser import sign_in
from tests.whole.app import WholeApp
from tests.whole.ui import COLLECTION, EVIL, search

pytestmark = pytest.mark.usefixtures("ui_documents")


def test_a_search_stands_beside_itself_without_rerank(
    signed_in: Page, whole: WholeApp, url: str
) -> None:
    search(signed_in)
    asked = {"collection": COLLECTION, "query": "sea", "top_k": 30, "top_n": 30}
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
    search(signed_in, EVIL)
    for row in signed_in.locator(f"#after .row[data-id={json.dumps(EVIL)}]").all():
        row.locator(".row-head").evaluate("(head) => head.click()")
        assert row.locator(".title").text_content() == EVIL
        assert row.locator(".full").text_content() == EVIL
    signed_in.get_by_role("link", name="Collections").click()
    signed_in.get_by_role("link", name=COLLECTION).click()
    signed_in.get_by_label("Id", exact=True).fill(EVIL)
    signed_in.get_by_role("button", name="Show").click()
    expect(signed_in.locator("#view-collections .full")).to_have_text(EVIL)
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
    search(signed_in)
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
    search(signed_in)
    expect(signed_in.get_by_role("heading", name="Degraded")).to_be_visible()
    expect(signed_in.get_by_role("status")).to_contain_text("both sides are in retrieval order")
    expect(signed_in.locator(".move")).to_have_count(0)


def test_documents_are_turned_a_page_at_a_time(signed_in: Page) -> None:
    signed_in.get_by_role("link", name="Collections").click()
    row = signed_in.get_by_role("row").filter(has_text=COLLECTION)
    expect(row).to_contain_text("31")
    signed_in.get_by_role("link", name=COLLECTION).click()
    expect(signed_in.locator(".row")).to_have_count(25)
    first = signed_in.locator(".row .title").first.text_content()
    signed_in.get_by_role("button", name="Next").click()
    expect(signed_in.locator(".row")).to_have_count(6)
    expect(signed_in.get_by_role("button", name="Next")).to_be_disabled()
    signed_in.get_by_role("button", name="Before").click()
    expect(signed_in.locator(".row .title").first).to_have_text(first or "")


def test_usage_and_stages_are_those_of_the_api(signed_in: Page) -> None:
    search(signed_in)
    signed_in.get_by_role("link", name="Usage").click()
    expect(signed_in.get_by_role("row").filter(has_text="rerank")).to_be_visible()
    expect(signed_in.locator("#view-usage .lead")).to_contain_text("Tenant bob")
    signed_in.get_by_role("link", name="Cluster").click()
    expect(signed_in.locator(".stage-card")).to_have_count(3)
    expect(signed_in.locator("#health")).to_have_text("Ready")
    replicas = signed_in.get_by_role("row").filter(has_text="tokens")
    expect(replicas.filter(has_text="Embed")).to_have_count(1)
    expect(replicas.filter(has_text="Rerank")).to_have_count(1)
