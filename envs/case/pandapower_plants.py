"""Which static generators of a pandapower network are wind and solar plants.

Type and name tell: pandapower's types are PV, WP and CHP (its documentation, static generator),
SimBench's PV, Wind, Biomass and Hydro; names as in PV 3, Wind Park or WKA 7.
"""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas

from envs.case.fleet import SOLAR, WIND

OTHER = "other"
# How a type or a name begins, in lower case; types of SimBench's aggregates are sun, too.
_KINDS = {
    WIND: re.compile(r"(wind|wp|wka|wea)(?![a-z])|wind(park|farm|power|turbine|kraft)"),
    SOLAR: re.compile(r"(pv|solar)(?![a-z])|photovolt|[lm]v_"),
    OTHER: re.compile(
        r"chp|bhkw|bm(?![a-z])|bio|hydro|water|diesel|.*gas|coal|nuclear|.*fuel|waste|geotherm"
    ),
}
# What notes say that a fleet would make of elements that a grid alone has as loads.
REMEDY = "`python -m envs.case.convert --fleet=FILE` makes"


def kind(row: Any) -> str | None:
    """Returns wind or solar by type or name of a row of `sgen`, `OTHER` or None.

    None says that neither tells; `OTHER` that it is a plant of another kind.
    """
    for text in (getattr(row, "type", None), getattr(row, "name", None)):
        for known, pattern in _KINDS.items():
            if pattern.match(str(text).strip().lower()):
                return known
    return None


def is_plant(row: Any, *, held: bool) -> bool:
    """Returns whether a row of `sgen` becomes a wind or solar plant of a fleet.

    One whose kind nothing tells does where it is controllable, unless the voltage of its bus is
    `held`: there it is a unit (`pandapower_units`).
    """
    known, controllable = kind(row), getattr(row, "controllable", None)
    may_be = isinstance(controllable, bool | np.bool_) and controllable and not held
    return known in (WIND, SOLAR) or (known is None and bool(may_be))


def rows(table: pandas.DataFrame) -> Iterator[Any]:
    """Yields the rows of a table that are in service."""
    yield from table[table.in_service.fillna(False).astype(bool)].itertuples()


def number(row: Any, name: str, default: float = np.nan) -> float:
    """Returns a number of a row, `default` where there is none."""
    value = getattr(row, name, None)
    return default if pandas.isna(value) else float(value)
