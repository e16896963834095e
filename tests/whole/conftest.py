"""The whole application, and the page that it serves at /ui."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import Complaints, browser, sign_in
from tests.whole.app import WholeApp
from tests.whole.ui import COLLECTION, DOCUMENTS, EVIL, WIDE

__all__ = ["browser"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> WholeApp:
    return WholeApp(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="session")
def url(whole: WholeApp) -> Iterator[str]:
    with whole.served() as url:
        yield url


@pytest.fixture(scope="session")
def ui_documents(whole: WholeApp, url: str) -> None:
    """Make the collection that the page at /ui searches."""
    with whole.client(url, "bob") as client:
        path = f"/v1/collections/{COLLECTION}"
        client.put(path)
        documents = [*DOCUMENTS, {"id": EVIL, "text": EVIL, "metadata": {"title": EVIL}}]
        assert client.post(f"{path}/documents", json={"documents": documents}).status_code == 200


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=WIDE)
    context.set_default_timeout(15_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def watched(page: Page, url: str) -> Iterator[Page]:
    """A page; fails the test if the browser complains about it."""
    complaints = Complaints(page, url)
    yield page
    assert complaints.found == []


@pytest.fixture
def signed_in(watched: Page, whole: WholeApp, url: str) -> Page:
    sign_in(watched, url, whole.keys["bob"])
    watched.get_by_label("Collection", exact=True).select_option(COLLECTION)
    return watched
