"""The documentation as tests read it: pages, and the code blocks in them."""

from __future__ import annotations

import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block between fences."""

    language: str
    text: str
    line: int  # of its first line in the page


def blocks(page: pathlib.Path) -> list[Block]:
    """Returns the code blocks of `page`, in order."""
    text = page.read_text()
    return [
        Block(match[1], match[2], text.count("\n", 0, match.start()) + 2)
        for match in _FENCE.finditer(text)
    ]


def prose(page: pathlib.Path) -> str:
    """Returns the text of `page` without its code blocks."""
    return _FENCE.sub("", page.read_text())


def name(page: pathlib.Path) -> str:
    """Returns the path of `page` from the root, as a test is called by it."""
    return str(page.relative_to(ROOT))
