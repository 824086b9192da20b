"""One colour and one mark for each controller, told apart without seeing red or green too."""

from collections.abc import Sequence
from typing import NamedTuple

from evaluation import summary


class Look(NamedTuple):
    """How a controller is drawn."""

    light: str  # on a light page
    dark: str  # on a dark page
    mark: str  # SVG path around the origin, about 8 wide
    variable: str = ""  # what the style sheet calls its colour


_DISC = "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0"
_SQUARE = "m-3.6-3.6h7.2v7.2h-7.2z"
_DIAMOND = "m0-5l5 5l-5 5l-5-5z"
_UP = "m0-4.8l4.8 8.4h-9.6z"
_DOWN = "m0 4.8l4.8-8.4h-9.6z"
_BAR = "m-2-5h4v10h-4z"
_PLUS = "m-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z"
_LEFT, _RIGHT = "m-4.8 0l8.4-4.8v9.6z", "m4.8 0l-8.4-4.8v9.6z"
_HOUR = "m-4.4-4.4h8.8l-8.8 8.8h8.8z"

_KNOWN = {
    "do_nothing": Look("#737b84", "#9da6af", _SQUARE),
    "learned": Look("#d0490a", "#ff8f4d", _DISC),
    "acopf": Look("#16191d", "#f2f4f6", _DIAMOND),
    "acopf_forecast": Look("#6a3fb5", "#b79bf2", _DIAMOND),
    "mpc": Look("#0f63a8", "#5fb0f0", _UP),
    "dcopf": Look("#3d9bd3", "#a5d8f7", _DOWN),
    "merit_order": Look("#00805f", "#3fce9f", _BAR),
    "expert": Look("#b5528e", "#eba3cd", _PLUS),
    "proportional": Look("#a97c00", "#f0c040", _LEFT),
    "reconnect": Look("#7a1f4f", "#cf6d9c", _RIGHT),
    "random": Look("#7d7d22", "#c9c962", _HOUR),
}
_SPARE = (
    Look("#433a9c", "#a9a1f5", _UP), Look("#2b8f86", "#70d6cb", _DOWN),
    Look("#9a4a24", "#dba07f", _BAR), Look("#5d4b6e", "#bba7cf", _PLUS),
)  # fmt: skip


def _seeds(names: Sequence[str]) -> dict[str, Look]:
    """Returns the looks of seeds of what is learned: all of one colour, as they are all alike."""
    marks = [look.mark for look in _KNOWN.values()]
    learned = _KNOWN["learned"]
    return {name: learned._replace(mark=marks[i % len(marks)]) for i, name in enumerate(names)}


def _spare(number: int) -> Look:
    """Returns a look that none of the known has; of more than there are colours, other marks."""
    look, turn = _SPARE[number % len(_SPARE)], number // len(_SPARE)
    marks = [*dict.fromkeys([look.mark, *(other.mark for other in _KNOWN.values())])]
    return look._replace(mark=marks[turn % len(marks)])


def looks(controllers: Sequence[str]) -> dict[str, Look]:
    """Returns the look of each controller; the known ones have the same on every page."""
    seeds = [name for name in controllers if summary.is_learned(name) and name not in _KNOWN]
    looks_of = {**_KNOWN, **_seeds(seeds)}
    spare = [name for name in controllers if name not in looks_of]
    chosen = [looks_of.get(name) or _spare(spare.index(name)) for name in controllers]
    return {
        name: look._replace(variable=f"--c{number}")
        for number, (name, look) in enumerate(zip(controllers, chosen))
    }
