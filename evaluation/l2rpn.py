"""The operational score of the Learning to Run a Power Network challenges.

A day is scored by its operating cost, linearly between four costs of the same day:

    100   what losses would cost at 80 % of those without disconnections
     80   doing nothing where overloads disconnect nothing
      0   doing nothing
   −100   a blackout from the first step on

Where doing nothing survives the day, 0 is followed by 100 (Marot et al., Learning to run a power
network challenge for training topology controllers, Electric Power Systems Research 189, 2020, and
`ScoreL2RPN2020` of Grid2Op). The cost of a step is that of losses, redispatch, curtailment and
batteries at the price of the dearest unit; after an end, that of all load.
"""

from typing import NamedTuple

import numpy as np

from envs.case import grid as grid_lib
from evaluation.episodes import EpisodeOutcomes

_BEST_LOSSES = 0.8
BEST, UNTRIPPED, NOTHING, WORST = 100.0, 80.0, 0.0, -100.0


class Cost(NamedTuple):
    """Operating costs of episodes in $, `[B]`."""

    operation: np.ndarray  # with the blackout that followed an end
    losses: np.ndarray  # of the losses alone
    blackout: np.ndarray  # of a day without any load served


def cost(outcomes: EpisodeOutcomes, load_mwh: np.ndarray, grid: grid_lib.Grid) -> Cost:
    """Returns what the days cost as the challenges count it.

    `load_mwh` `[T, B]` is the load of every step, whether it was played or not.
    """
    gen = grid.gen
    price = float((gen.cost_c1 + 2 * gen.cost_c2 * gen.p_max_mw)[gen.capacity_mw > 0].max())
    counted = np.asarray(outcomes.counted)
    # The step that ended an episode was no step of operation.
    played = counted & ~np.asarray(outcomes.terminated)
    played_term = lambda name: np.where(played, np.asarray(outcomes.terms[name], np.float64), 0.0)
    names = ("losses", "redispatch", "curtailment", "storage_throughput", "energy_not_served")
    operation_mwh = sum(played_term(name) for name in names) + np.where(played, 0.0, load_mwh)
    energies = operation_mwh, played_term("losses"), load_mwh
    return Cost(*(price * energy.sum(0) for energy in energies))


def score(operation: np.ndarray, nothing: Cost, untripped: Cost) -> np.ndarray:
    """Returns the score of each day `[B]`, −100 to 100, of a controller's `Cost.operation` `[B]`.

    The others are of doing nothing on the same days, and of that where overloads disconnect
    nothing.
    """
    best = _BEST_LOSSES * untripped.losses
    scores_by_day = []
    for day in range(len(operation)):
        at = [best[day], untripped.operation[day], nothing.operation[day], nothing.blackout[day]]
        scores = [BEST, UNTRIPPED, NOTHING, WORST]
        if at[2] <= at[1]:  # doing nothing lost nothing to disconnections
            del at[1], scores[1]
        scores_by_day.append(np.interp(operation[day], np.maximum.accumulate(at), scores))
    return np.array(scores_by_day)
