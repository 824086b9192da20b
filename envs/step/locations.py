"""At which buses the entries of observations and actions are."""

import numpy as np

from envs.step import layout as layout_lib, layouts, observations
from envs.step.layout import Layout


def observed_at(layout: Layout) -> np.ndarray:
    """Returns which entry is of an element at which bus, bool `[observation_size, n_bus]`.

    A branch is at both of its buses. Entries of the whole system are at none.
    """
    at = np.zeros((layout.observation_size, layout.site.grid.n_bus), bool)
    for name, part in layout.observation.items():
        elements = observations.BLOCKS[name].names
        if isinstance(elements, layout_lib.PerElement):
            rows = elements.rows(layout.site)
            for bus in layout_lib.ENDS[elements.kind](layout.site):
                at[np.arange(part.start, part.stop), bus[rows]] = True
    return at


def moved_at(layout: Layout) -> np.ndarray:
    """Returns the bus of each action `[action_size]`; that of a branch is the one it begins at."""
    at = np.zeros(layout.action_size, int)
    for name, part in layout.action.items():
        elements = layouts.ACTIONS[name].elements
        first, *_ = layout_lib.ENDS[elements.kind](layout.site)
        at[part] = first[elements.rows(layout.site)]
    return at
