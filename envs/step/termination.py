"""Why an episode ended before its horizon."""

import enum


class Reason(enum.IntEnum):
    """Reasons of termination. Reaching the horizon is truncation, not termination."""

    NONE = 0
    DIVERGED = 1  # the power flow has no solution: voltage collapse
    LOAD_LOST = 2  # more than the allowed share of load could not be served
    CASCADE = 3  # branches went on tripping after the bounded number of rounds
    FREQUENCY = 4  # frequency left the range in which units stay connected
    ISLANDING = 5  # load or frequency was lost mostly by what was cut off from the grid
