"""Pages, headings, files, modules and make targets that the documentation names are there."""

import importlib.util
import re
from pathlib import Path

import pytest

from tests.pages import ROOT, Page, page, pages

_ALL = [*pages(), page("CHANGELOG.md"), page("SECURITY.md"), page("loadtest/results/README.md")]
_FOLDERS = ("deployments", "cluster", "k8s", "loadtest", "tests", "docs", "requirements")
_FILE = re.compile(rf"(?:{'|'.join(_FOLDERS)})/[\w./-]+")


@pytest.mark.parametrize("source", _ALL, ids=lambda one: one.name)
def test_links_lead_somewhere(source: Page) -> None:
    for link in source.links():
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (source.path.parent / path).resolve() if path else source.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(target).anchors(), link


@pytest.mark.parametrize("source", _ALL, ids=lambda one: one.name)
def test_files_that_are_named_exist(source: Page) -> None:
    for name in source.names():
        if _FILE.fullmatch(name):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("source", pages(), ids=lambda one: one.name)
def test_commands_that_are_named_exist(source: Page) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake ([a-z0-9-]+)", _commands(source)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for module in re.findall(r"python -m ((?:cluster|loadtest)[\w.]*)", _commands(source)):
        assert importlib.util.find_spec(module), module


def test_every_page_is_on_the_site_and_in_the_readme() -> None:
    site = (ROOT / "zensical.toml").read_text()
    linked = page("README.md").links()
    for one in pages():
        assert f'"{one.name}"' in site
        assert one.name == "README.md" or one.name in linked


def test_the_readme_is_short() -> None:
    assert len(page("README.md").text.splitlines()) <= 250


def test_links_to_source_are_the_ones_that_the_site_leaves_out() -> None:
    """The site has pages, figures and results; `make docs` makes plain names of links to source."""
    makefile = (ROOT / "Makefile").read_text()
    found = re.search(r"^SOURCE_LINKS := s@(.*)@\\1@g$", makefile, re.MULTILINE)
    assert found
    source_link = re.compile(found[1].replace("$$", "$"))
    for one in pages():
        for link in re.findall(r"\[[^\]]+\]\([^)\s]+\)", one.prose):
            target = link[link.index("](") + 2 : -1].partition("#")[0]
            on_site = not target or Path(target).suffix in {".md", ".svg", ".png"} or ":" in target
            assert on_site or source_link.fullmatch(link), link


def _commands(source: Page) -> str:
    """Texts in code marks and in shell blocks."""
    shell = [block.code for block in source.blocks() if block.language == "sh"]
    return "\n".join([*source.names(), *shell])
