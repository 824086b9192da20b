"""The documentation as tests read it: pages, and the code blocks in them."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted(ROOT.glob("docs/notebooks/*.ipynb"))
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *NOTEBOOKS])
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """A code block between fences."""

    language: str
    text: str
    line: int  # of its first line in the page


def text(page: pathlib.Path) -> str:
    """Returns the Markdown of `page`; that of a notebook has its code between fences."""
    if page.suffix != ".ipynb":
        return page.read_text()
    parts = []
    for cell in json.loads(page.read_text())["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    return "\n\n".join(parts) + "\n"


def blocks(page: pathlib.Path) -> list[Block]:
    """Returns the code blocks of `page`, in order."""
    source = text(page)
    return [
        Block(match[1], match[2], source.count("\n", 0, match.start()) + 2)
        for match in _FENCE.finditer(source)
    ]


def prose(page: pathlib.Path) -> str:
    """Returns the text of `page` without its code blocks."""
    return _FENCE.sub("", text(page))


def name(page: pathlib.Path) -> str:
    """Returns the path of `page` from the root, as a test is called by it."""
    return str(page.relative_to(ROOT))
