"""Value normalisation that preserves outputs (PopArt, van Hasselt et al. 2016).

V values: of each agent, and with limits of each cost and agent.
"""

from collections.abc import Mapping

import chex
import numpy as np

from agents import networks as networks_lib, normaliser


def denormalise(statistics: normaliser.ValueStatistics, normalised: chex.Array) -> chex.Array:
    """Returns values in units of reward, `[..., V]`."""
    return normalised * statistics.std + statistics.mean


def normalise(statistics: normaliser.ValueStatistics, values: chex.Array) -> chex.Array:
    """Returns values as the network predicts them, `[..., V]`."""
    return (values - statistics.mean) / statistics.std


def update(
    statistics: normaliser.ValueStatistics, first: chex.Array, second: chex.Array, decay: float
) -> normaliser.ValueStatistics:
    """Returns statistics after new targets with moments `first` and `second`, each `[V]`."""
    mix = lambda old, new: decay * old + (1.0 - decay) * new
    return normaliser.ValueStatistics(
        weight=mix(statistics.weight, 1.0),
        first=mix(statistics.first, first),
        second=mix(statistics.second, second),
    )


def preserve(
    params: networks_lib.Params,
    groups: Mapping[str, np.ndarray],
    old: normaliser.ValueStatistics,
    new: normaliser.ValueStatistics,
) -> networks_lib.Params:
    """Returns parameters whose denormalised values are the same under `new` as under `old`.

    The head w, b becomes w σ/σ', (σ b + μ − μ')/σ' (equation 9 of the paper). `groups` are those of
    `networks.value_groups`.
    """
    value = dict(params["value"])
    for name, own in groups.items():
        scale = old.std[own] / new.std[own]
        shift = (old.mean[own] - new.mean[own]) / new.std[own]
        head = value[name]["head"]
        value[name] = {
            **value[name],
            "head": {
                "kernel": head["kernel"] * scale[..., None, :],
                "bias": head["bias"] * scale + shift,
            },
        }
    return {**params, "value": value}
