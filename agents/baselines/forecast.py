"""What each load and each plant will be, by a forecast of their total.

Needs no jax, so that workers start quickly.
"""

import numpy as np

_ROUNDING = 1e-3  # by which a plant may pass its rating, as a share


def scaled(now_mw: np.ndarray, total_mw: float) -> np.ndarray:
    """Returns `now_mw`, any shape, times one factor so that it sums to `total_mw`."""
    present = now_mw.sum()
    return now_mw * (total_mw / present) if present > 1e-6 else now_mw


def weather(now_mw: np.ndarray, total_mw: float, rated_mw: np.ndarray) -> np.ndarray:
    """Returns what plants can produce that can produce the total and of which `now_mw` is known.

    Their shares stay, up to their ratings; where these are passed now, or by the total, they say
    nothing of the day's plants. In a calm ratings are all there is to go by. All `[n_plant]`.
    """
    if now_mw.sum() <= 1e-6:
        return rated_mw * (total_mw / max(rated_mw.sum(), 1e-6))
    by_total = scaled(now_mw, total_mw)
    if (now_mw > rated_mw * (1.0 + _ROUNDING)).any() or total_mw > rated_mw.sum():
        return by_total
    within = np.minimum(by_total, rated_mw)
    room = rated_mw - within
    return within + room * np.clip((total_mw - within.sum()) / max(room.sum(), 1e-6), 0.0, 1.0)
