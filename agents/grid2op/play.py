"""Grid2Op's environments with lightsim2grid under them, as they are played here."""

import pathlib
import warnings

BACKENDS = LIGHTSIM, PANDAPOWER = ("lightsim2grid", "pandapower")
ABSENT = "Grid2Op and lightsim2grid are not installed: make install-grid2op"


def make(environment: pathlib.Path, *, protected: bool = True, backend: str = LIGHTSIM, **options):
    """Returns Grid2Op's environment of a folder, with no opponent.

    Unless `protected`, overloaded lines stay in service. `options` are those of `grid2op.make`.

    Raises:
      ModuleNotFoundError: Grid2Op or lightsim2grid is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba, and of environments made for tests
        try:
            import grid2op
            from grid2op.Action import DontAct
            from grid2op.Backend import PandaPowerBackend
            from grid2op.Opponent import BaseOpponent, NeverAttackBudget
            from lightsim2grid import LightSimBackend
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{ABSENT} ({error})") from error
        engine = {LIGHTSIM: LightSimBackend, PANDAPOWER: PandaPowerBackend}[backend]
        env = grid2op.make(
            str(environment),
            test=True,
            backend=engine(),
            opponent_class=BaseOpponent,
            opponent_action_class=DontAct,
            opponent_budget_class=NeverAttackBudget,
            opponent_init_budget=0.0,
            opponent_budget_per_ts=0.0,
            **options,
        )
        if not protected:
            parameters = env.parameters
            parameters.NO_OVERFLOW_DISCONNECTION = True
            env.change_parameters(parameters)
    return env


def scenarios(env) -> list[str]:
    """Returns the names of the chronics of a Grid2Op environment, in the order of their numbers."""
    paths = env.chronics_handler.real_data.subpaths
    return [pathlib.Path(path).name for path in paths]


def reset(env, scenario: int, row: int, seed: int = 0):
    """Returns the observation at `row` of the chronics `scenario`; the first row is 0."""
    options = {"time serie id": scenario}
    if row:
        options["init ts"] = row
    return env.reset(seed=seed, options=options)
