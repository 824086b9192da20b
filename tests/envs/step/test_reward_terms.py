"""Which steps count as steps in violation, limit by limit."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from envs.case import fleet_file
from envs.options import EnvOptions
from envs.step import reward_terms


def _in_violation(grid, **change):
    """Returns the count of a step at rest, but for `change`."""
    fleet, record = fleet_file.load("case14", grid), types.SimpleNamespace
    none = jnp.zeros(())
    of = {
        "rho": jnp.full(grid.n_branch, 0.5),
        "vm_pu": jnp.asarray(0.5 * (grid.bus.vm_min_pu + grid.bus.vm_max_pu)),
        "gen_q_mvar": jnp.asarray(0.5 * (grid.gen.q_min_mvar + grid.gen.q_max_mvar)),
        "beyond_angle_rad": none,
        "outside_s": none,
    } | change
    p, load = jnp.asarray(0.5 * grid.gen.p_max_mw), jnp.asarray(grid.bus.load_p_mw[grid.loads])
    after = record(
        gen_p_mw=p, gen_on=jnp.ones(grid.n_gen, bool), vm_pu=of["vm_pu"], losses_mw=none, t=0
    )
    solution = record(energised=jnp.ones(grid.n_bus, bool), converged=jnp.asarray(True))
    result = record(
        now=record(
            plan_p_mw=p, renewable_mw=jnp.zeros(1), load_p_mw=load, day_ahead_load_mw=load.sum()
        ),
        feasible=record(load_p_mw=load, moved_load_mw=none, storage_mw=jnp.zeros(1)),
        switched=record(operations=jnp.int32(0)),
        point=record(
            solution=solution, served=jnp.ones(len(load)), surplus_mw=none,
            renewable_mw=jnp.zeros(1), tripped=jnp.zeros(grid.n_branch, bool),
            beyond_angle_rad=of["beyond_angle_rad"],
        ),
        frequency=record(mean_shed_share=none, outside_s=of["outside_s"]),
        gen_q_mvar=of["gen_q_mvar"],
        rho=of["rho"],
    )  # fmt: skip
    terms = reward_terms.RewardTerms(grid, fleet, EnvOptions())
    return float(terms(after, result, types.SimpleNamespace(insecure=none))["steps_in_violation"])


def test_a_step_within_every_limit_does_not_count(case14):
    assert _in_violation(case14) == 0.0


@pytest.mark.parametrize("beyond, counts", [(1e-4, 0.0), (1e-2, 1.0)])
def test_a_limit_that_is_broken_counts_beyond_rounding(case14, beyond, counts):
    base, first = case14.base_mva, lambda n: jnp.asarray(np.arange(n) == 0, float)
    rate = case14.branch.rate_mva[0]
    for change in (
        {"rho": first(case14.n_branch) * (1.0 + beyond * base / rate)},
        {"vm_pu": jnp.asarray(case14.bus.vm_max_pu) + beyond * first(case14.n_bus)},
        {"gen_q_mvar": case14.gen.q_max_mvar + beyond * base * first(case14.n_gen)},
        {"beyond_angle_rad": jnp.float32(beyond)},
    ):
        assert _in_violation(case14, **change) == counts, change
    assert _in_violation(case14, outside_s=jnp.float32(beyond)) == 1.0
