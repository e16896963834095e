"""The documentation as tests read it: pages with their headings, links and fenced blocks.

A `sh` or `python` block is an example. It is run against a real cluster, unless a comment before it
says `run: command` (a `winnow` command that needs none) or `not run:` and why.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*?) -->\n)?"
    r"^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SHOWS = ("json", "text")
_EXAMPLES = ("sh", "python")


@dataclass(frozen=True)
class Block:
    """A fenced block. `marker` is the comment right before it; `shown` is the block right after it
    where that is output."""

    place: str
    language: str
    code: str
    marker: str
    shown: str | None


@dataclass(frozen=True)
class Page:
    path: Path

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @property
    def text(self) -> str:
        return self.path.read_text()

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def blocks(self) -> list[Block]:
        found = list(_FENCE.finditer(self.text))
        return [self._block(at, found) for at in range(len(found))]

    def examples(self, marker: str) -> list[Block]:
        """Examples with that marker; "" is what runs against a cluster."""
        return [
            block
            for block in self.blocks()
            if block.language in _EXAMPLES and block.marker.partition(": ")[0] == marker
        ]

    def anchors(self) -> set[str]:
        """Anchors that `#...` may name, made of headings as GitHub makes them."""
        headings = re.findall(r"^#+ (.*)$", self.prose, re.MULTILINE)
        plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
        return {heading.replace(" ", "-") for heading in plain}

    def links(self) -> list[str]:
        return re.findall(r"\]\(([^)\s]+)\)", self.prose)

    def names(self) -> set[str]:
        """Texts in `code` marks."""
        return set(re.findall(r"`([^`\n]+)`", self.prose))

    def _block(self, at: int, found: list[re.Match[str]]) -> Block:
        one = found[at]
        after = found[at + 1] if at + 1 < len(found) else None
        shown = None
        if (
            after
            and after["language"] in _SHOWS
            and not self.text[one.end() : after.start()].strip()
        ):
            shown = after["code"]
        line = self.text.count("\n", 0, one.start()) + 1
        return Block(
            f"{self.name}:{line}", one["language"], one["code"], one["marker"] or "", shown
        )


def pages() -> list[Page]:
    """The README and what is in docs/."""
    return [Page(ROOT / "README.md"), *map(Page, sorted((ROOT / "docs").glob("*.md")))]


def page(name: str) -> Page:
    return Page(ROOT / name)
