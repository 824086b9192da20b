"""Value normalisation that preserves outputs (PopArt, van Hasselt et al. 2016).

V values: of each agent, and with limits of each cost and agent.
"""

import chex

from agents import networks as networks_lib, normaliser, team as team_lib


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
    team: team_lib.Team,
    old: normaliser.ValueStatistics,
    new: normaliser.ValueStatistics,
) -> networks_lib.Params:
    """Returns parameters whose denormalised values are the same under `new` as under `old`.

    The head w, b becomes w σ/σ', (σ b + μ − μ')/σ' (equation 9 of the paper).
    """
    value = dict(params["value"])
    for index, agent in enumerate(team.agents):
        own = slice(index, None, team.size)  # of reward and costs
        scale = old.std[own] / new.std[own]
        shift = (old.mean[own] - new.mean[own]) / new.std[own]
        head = value[agent.name]["head"]
        value[agent.name] = {
            **value[agent.name],
            "head": {"kernel": head["kernel"] * scale, "bias": head["bias"] * scale + shift},
        }
    return {**params, "value": value}
