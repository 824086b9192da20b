"""A picture on a page."""

from typing import NamedTuple

import markupsafe


class Figure(NamedTuple):
    """A picture and what to know of it."""

    title: str
    note: str
    svg: markupsafe.Markup
    diagram: bool = False  # of the grid: has a legend, and scrolls rather than become too small
    marked: bool = False  # the diagram marks what was held back
