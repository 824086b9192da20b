"""Steps a Grid2Op environment that does nothing, with one of three engines under it.

    python -m benchmarks.peers.grid2op_env --env=rte_case118_example \
        --engine=LightSimBackend --seconds=2 --repeats=5

LightSimBackend and PandaPowerBackend are Grid2Op whole: its rules, its observation, its chronics.
LightEnv is lightsim2grid's own environment in C++ on the same grid and chronics: power flow,
overflow protection and cooldowns, and none of the redispatch, curtailment, storage, rules, reward
or Python observation. The environment is one that ships in Grid2Op's wheel (`test=True`).
"""

import argparse
import time

import numpy as np

from benchmarks.peers import reporting


def measure(args: argparse.Namespace) -> dict:
    """Returns the report on one engine, stepped for `args.seconds` in each repeat."""
    import grid2op
    import lightsim2grid

    env = _make(args.env, args.engine)
    shape = {"n_bus": env.n_sub, "n_branch": env.n_line, "n_gen": env.n_gen, "n_load": env.n_load}
    if args.engine == "LightEnv":
        light = _light_env(env)
        reset, step = light.reset, lambda: _light_step(light)
    else:
        nothing = env.action_space()
        reset, step = env.reset, lambda: env.step(nothing)[2]  # whether it is done
    reset()
    _spend(reset, step, min(0.5, args.seconds))
    rows = [_spend(reset, step, args.seconds) for _ in range(args.repeats)]
    episodes = sum(row["resets"] for row in rows)
    return {
        "peer": "grid2op",
        "versions": {
            "grid2op": grid2op.__version__,
            "lightsim2grid": lightsim2grid.__version__,
            "numpy": np.__version__,
        },
        "settings": {"env": args.env, "policy": "do_nothing"},
        "grid": shape,
        "steps": sum(row["steps"] for row in rows),
        "episodes_ended": episodes,
        "steps_per_s": reporting.summary([row["steps"] / row["stepping_s"] for row in rows]),
        "steps_per_s_with_resets": reporting.summary(
            [row["steps"] / row["total_s"] for row in rows]
        ),
    }


def _spend(reset, step, seconds: float) -> dict:
    """Steps for so long, and tells how many steps and resets that were."""
    steps, resets, resetting = 0, 0, 0.0
    begun = now = time.perf_counter()
    while now < begun + seconds:
        done = step()
        steps += 1
        now = time.perf_counter()
        if done:
            reset()
            resets += 1
            after = time.perf_counter()
            resetting, now = resetting + after - now, after
    total = now - begun
    return {"steps": steps, "resets": resets, "stepping_s": total - resetting, "total_s": total}


def _make(name: str, engine: str):
    import grid2op
    from grid2op.Backend import PandaPowerBackend
    from lightsim2grid import LightSimBackend

    backends = {
        "LightSimBackend": LightSimBackend, "LightEnv": LightSimBackend,
        "PandaPowerBackend": PandaPowerBackend,
    }  # fmt: skip
    env = grid2op.make(name, test=True, backend=backends[engine]())
    env.seed(0)
    env.reset()
    return env


def _light_step(light) -> bool:
    observation, _, done, truncated, _ = light.step(0)  # Without registered actions, 0 is none.
    np.array(observation.rho)  # A view on memory that the next step overwrites.
    return done or truncated


def _light_env(env):
    """Returns lightsim2grid's environment on the grid, chronics and limits of `env`."""
    from lightsim2grid.lightEnv import LightEnv, Protections

    data = env.chronics_handler.real_data.data
    rows = len(data.load_p)
    keep = lambda columns: np.full((rows, columns), np.nan)  # NaN leaves the grid's own value.
    light = LightEnv(env.backend._grid)
    light.assign_time_series(
        data.load_p.astype(float), data.load_q.astype(float), data.prod_p.astype(float),
        (data.prod_v / env.backend.prod_pu_to_kv).astype(float), keep(env.n_storage),
        keep(env.n_shunt), keep(env.n_shunt), keep(0), keep(0),
    )  # fmt: skip
    limit_ka = 1e-3 * env.get_thermal_limit().astype(float)
    far_end = env.backend.lines_or_pu_to_kv / env.backend.lines_ex_pu_to_kv
    protections = Protections()
    protections.set_thermal_limit_or(limit_ka)
    protections.set_thermal_limit_ex((limit_ka * far_end).astype(float))
    allowed = env.parameters.NB_TIMESTEP_OVERFLOW_ALLOWED
    protections.set_max_line_time_step_overflow(np.full(env.n_line, allowed, np.int32))
    light.protections = protections
    return light


if __name__ == "__main__":
    reporting.main(__doc__, measure, env=str, engine=str, seconds=float, repeats=int)
