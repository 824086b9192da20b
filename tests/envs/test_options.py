"""Options of earlier versions: read where nothing changed, refused by name where something did."""

import dataclasses
import json

import pytest

from envs import options
from envs.options import EnvOptions
from envs.schedule import day_ahead
from envs.step import reactive_power, solve_and_protect, switching, termination
from envs.step.frequency_options import PRESETS


def _earlier(**changes):
    """What the version before wrote, as JSON has it; `a__b` is a field b of the group a."""
    values = json.loads(json.dumps(dataclasses.asdict(EnvOptions(case="case118"))))
    values["frequency"] = dataclasses.asdict(PRESETS["north_america"])
    for path, value in [*options.CONSTANTS.items(), *changes.items()]:
        *groups, name = path.replace("__", ".").split(".")
        inner = values
        for group in groups:
            inner = inner[group]
        inner[name] = value
    return values


def test_what_were_options_are_the_constants_of_today():
    assert options.CONSTANTS == {
        "planned_losses": day_ahead.PLANNED_LOSSES,
        "switch_cooldown_steps": switching.COOLDOWN_STEPS,
        "condenser_loss": reactive_power.CONDENSER_LOSS,
        "restoration_hours": termination.RESTORATION_HOURS,
        "protection.reclose_steps": switching.RECLOSE_STEPS,
        "protection.max_rounds": solve_and_protect.MAX_ROUNDS,
    }


def test_options_of_an_earlier_version_are_read():
    values = _earlier(protection__hard_limit=1.5)
    before = json.dumps(values)
    today = options.of_any_version(values)
    assert json.dumps(values) == before, "what is given stays as it is"
    today["protection"] = dataclasses.replace(EnvOptions().protection, **today["protection"])
    assert EnvOptions(**today) == EnvOptions(case="case118", protection=today["protection"])
    values["frequency"] = dataclasses.asdict(PRESETS["europe"])
    assert options.of_any_version(values)["frequency"] == "europe"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"planned_losses": 0.05}, "env.planned_losses=0.05: .* no such field, it is always 0.03;"),
        ({"protection__max_rounds": 1}, "env.protection.max_rounds=1: .* it is always 8;"),
        ({"frequency__damping": 2.0}, "env.frequency.damping=2.0: .* one of north_america, europe"),
        ({"frequency": {}}, "env.frequency={}: this version has no such"),
    ],
)
def test_another_value_of_what_is_no_option_any_more_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        options.of_any_version(_earlier(**change))
