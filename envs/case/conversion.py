"""A grid that was converted from another format, with a list of what was changed on the way."""

import dataclasses
import functools
import logging
from collections.abc import Iterable, Sequence

import numpy as np

from envs.case.grid import Grid

# What stands where a file says nothing; each use is listed among the notes of its conversion.
COST_PER_MWH = 40.0  # $/MWh, linear
VM_LIMITS_PU = (0.9, 1.1)
VM_LIMITS_NOTE = "{n} whose limits of voltage are not known: 0.9 to 1.1 pu assumed"
UNLIMITED_MVA = 9999.0  # a rating from here on is none, as converters write it for "no limit"
# Told whatever the level of others: commands silence Orbax.
_LOG = logging.getLogger("gridracer.case")
_LOG.setLevel(logging.WARNING)
_LISTED = 8  # elements by number; of more only how many


@dataclasses.dataclass(frozen=True)
class Note:
    """One thing that a grid has otherwise than the file that it was read from."""

    element: str  # what the format calls it: dcline, trafo3w, switch
    text: str
    rows: tuple = ()  # numbers or names of the elements, as the file has them

    def __str__(self) -> str:
        """Returns the note as a line."""
        return f"{self.element}: {self.text}" + (f" ({listed(self.rows)})" if self.rows else "")


@dataclasses.dataclass(frozen=True)
class Conversion:
    """A grid and what was left out, assumed or made into something else when it was read."""

    grid: Grid
    notes: tuple[Note, ...] = ()

    def lines(self) -> list[str]:
        """Returns the notes as lines."""
        return [str(note) for note in self.notes]

    def warn(self, origin: str) -> None:
        """Logs the notes as one warning, once in a process."""
        if self.notes:
            warn_once("\n".join([f"{origin}: read with changes", *self.lines()]))


class Notes(list):
    """Notes as they are gathered."""

    def add(self, element: str, rows: Iterable, text: str) -> None:
        """Adds a note about `rows` of `element`, if there are any; `{n}` in `text` is how many."""
        rows = tuple(rows)
        if rows:
            self.append(Note(element, text.format(n=len(rows)), rows))


def listed(rows: Sequence) -> str:
    """Returns numbers or names as a message lists them, the first few of many."""
    shown = ", ".join(str(row) for row in rows[:_LISTED])
    return shown + (f" and {len(rows) - _LISTED} more" if len(rows) > _LISTED else "")


def vm_limits(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns limits of voltage `[n_bus]` pu, and where they had to be assumed, bool `[n_bus]`.

    Limits that are no number, not above zero or 2 pu and more are none.
    """
    with np.errstate(invalid="ignore"):
        lacks_low, lacks_high = ~((low > 0) & (low < 2)), ~((high > 0) & (high < 2))
    low = np.where(lacks_low, VM_LIMITS_PU[0], low)
    high = np.where(lacks_high, VM_LIMITS_PU[1], high)
    # What is assumed gives way to what is not.
    low = np.where(lacks_low, np.minimum(low, high), low)
    high = np.where(lacks_high, np.maximum(low, high), high)
    return low, high, lacks_low | lacks_high


def ratings(mva: np.ndarray) -> np.ndarray:
    """Returns limits of branches `[n_branch]` MVA, infinite where there are none."""
    with np.errstate(invalid="ignore"):
        return np.where((mva > 0) & (mva < UNLIMITED_MVA), mva, np.inf)


@functools.cache
def warn_once(message: str) -> None:
    """Logs a warning about a case, once in a process."""
    _LOG.warning(message)
