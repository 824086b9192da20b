"""The ablations that `launch.evaluate --ablations` names, as controllers."""

from collections.abc import Sequence

from agents import ablations, controllers
from agents.bundle import Bundle
from agents.networks import TeamNetworks
from agents.team import Team

ALL = "all"


def names(flag: Sequence[str] | None, team: Team, kind: str) -> list[str]:
    """Returns the names of the ablations that `flag` names of a team of `kind`; of none, none.

    Raises:
      ValueError: the team does not have one of them; the message says what it has.
    """
    if flag is None:
        return []
    there = ablations.changes(team)
    kinds = [name for name in ablations.KINDS if there[name] or ALL not in flag]
    kinds = [name for name in kinds if name in flag or ALL in flag]
    try:
        return list(ablations.chosen(team, tuple(kinds or ablations.KINDS)))
    except ValueError as error:
        raise ValueError(
            f"--ablations={','.join(flag)}: the checkpoint is of a team {kind}; {error}; give what "
            "it has, or leave --ablations out"
        ) from error


def ablated(base: str, networks: TeamNetworks, bundle: Bundle) -> dict[str, controllers.Controller]:
    """Returns by name every ablation of a policy, that of the controller `base`."""
    of, made = ablations.Ablations(networks), {}
    for changes in ablations.changes(networks.team).values():
        for ablation, change in changes.items():
            name = ablations.controller_name(base, ablation)
            made[name] = of.controller(name, change, bundle)
    return made
