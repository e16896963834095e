"""A collection to search on the page at /ui, and sizes of its window."""

from playwright.sync_api import Page, ViewportSize, expect

COLLECTION = "ui-seen"
EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
# The engine ranks short ones first, and retrieves those first that are mostly of the sea.
DOCUMENTS = [
    {
        "id": f"d{number:02}",
        "text": "sea " * (number * 7 % 31) + "salt " * (1 + number * 11 % 7),
        "metadata": {"title": f"Title {number}"},
    }
    for number in range(1, 31)
]
WIDE: ViewportSize = {"width": 1280, "height": 800}
NARROW: ViewportSize = {"width": 360, "height": 740}


def search(page: Page, query: str = "sea") -> None:
    page.get_by_role("searchbox", name="Query").fill(query)
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#after .row").first).to_be_visible()
