"""What can be chosen about an environment, and how options of earlier versions are read."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from envs.inputs import bounds, earlier_fields
from envs.step import frequency_options
from envs.step.options import StepOptions

# What were options in earlier versions and are constants of a module now, by path.
CONSTANTS = {
    "planned_losses": 0.03,
    "switch_cooldown_steps": 3,
    "condenser_loss": 0.015,
    "restoration_hours": 4.0,
    "protection.reclose_steps": 12,
    "protection.max_rounds": 8,
}


@dataclasses.dataclass(frozen=True)
class EnvOptions(StepOptions):
    """Options of the environment, those of its parts included. The text is each field's help."""

    reward: Annotated[str, "combination of reward terms: economic, savings, layered or l2rpn"] = (
        "economic"
    )
    layout: Annotated[
        str,
        "set of observations and controls: operator, full, voltages, case118, case118_full, nodes, "
        "microgrids or grid2op",
    ] = "operator"


def of_any_version(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of an `EnvOptions` that this or an earlier version wrote as JSON.

    A field that came later has its default.

    Raises:
      ValueError: what is no option any more had another value than it has now; the message names
        it.
    """
    constants = {f"env.{path}": constant for path, constant in CONSTANTS.items()}
    values = earlier_fields.updated(values, "env.", constants)
    today = {**dataclasses.asdict(EnvOptions()), **values}
    if isinstance(today.get("frequency"), Mapping):
        today["frequency"] = _preset(today["frequency"])
    return today


def _preset(values: Mapping[str, Any]) -> str:
    """Returns the name of the preset with the options that an earlier version wrote."""
    for name, preset in frequency_options.PRESETS.items():
        if dataclasses.asdict(preset) == values:
            return name
    usual = dataclasses.asdict(frequency_options.PRESETS["north_america"])
    odd = next((name for name in sorted(values) if usual.get(name) != values[name]), "")
    raise ValueError(
        f"env.frequency{'.' + odd[:60] if odd else ''}={bounds.as_text(values.get(odd, values))}: "
        f"this version has no such field, env.frequency is one of "
        f"{', '.join(frequency_options.PRESETS)}; use the version that wrote it"
    )
