"""Measures whole environment steps: ours, and Grid2Op's on a grid of as many buses."""

from collections.abc import Callable

from benchmarks import comparison, ours_env, peer_process, timing
from benchmarks.comparison import Settings
from envs import grid_env
from envs.inputs import choices
from envs.options import EnvOptions

CASES = ("case14", "case118")
BATCHES = (1, 64, 256, 1024)
# What Grid2Op's wheel ships, by number of buses.
_PEER_ENVS = {14: "l2rpn_case14_sandbox", 118: "rte_case118_example"}
_ENGINES = ("LightSimBackend", "LightEnv", "PandaPowerBackend")
_PEER_REPEATS = 5
_PEER_TIMEOUT_S = 300.0


def check(settings: Settings) -> None:
    """Raises a ValueError or FileNotFoundError that names the flag or case that cannot be."""
    for policy in settings.policies:
        choices.require("--policies", policy, ours_env.POLICIES)
    for case in settings.cases:
        grid_env.check(EnvOptions(case=case))


def measure(settings: Settings, say: Callable[[str], None]) -> dict:
    """Returns the settings and the results of every case; `say` is told the progress."""
    return {
        "settings": {"length": settings.length, "threads": settings.threads, "seed": settings.seed},
        "cases": [_case(name, settings, say) for name in settings.cases],
    }


def _case(name: str, settings: Settings, say) -> dict:
    env = grid_env.make(EnvOptions(case=name))
    label, ours = env.grid.name, []
    for policy in settings.policies or ours_env.POLICIES:
        for batch in sorted(settings.batches):
            ours.append(_ours(env, batch, policy, settings))
            rate = ours[-1]["steps_per_s"]
            say(f"{label}: {policy}, batch {batch:,}: {rate:,.0f} steps/s")
    peers = _peers(env.grid.n_bus, settings, lambda text: say(f"{label}: {text}"))
    return {
        "case": name,
        "name": label,
        "n_bus": env.grid.n_bus,
        "n_branch": env.grid.n_branch,
        "n_gen": env.grid.n_gen,
        "n_load": len(env.grid.loads),
        "observation_size": env.layout.observation_size,
        "action_size": env.layout.action_size,
        "ours": ours,
        "peers": peers,
        "best": _best(ours, peers),
    }


def _ours(env, batch: int, policy: str, settings: Settings) -> dict:
    rollout = ours_env.Rollout(env, batch, settings.length, policy, settings.seed)
    taken = timing.measure(rollout.run, settings.repeats, settings.seconds)
    reset = timing.measure(rollout.reset, 3, settings.seconds)
    step_s = taken["median"] / rollout.steps
    reset_s = reset["median"] / rollout.resets
    return {
        "policy": policy,
        "batch": batch,
        "seconds": taken,
        "steps_per_s": 1 / step_s,
        "reset_s": reset_s,
        "steps_per_s_with_resets": 1 / (step_s + reset_s / rollout.horizon),
        **rollout.report(),
    }


def _peers(n_bus: int, settings: Settings, say) -> dict[str, dict]:
    """Returns the report of each engine under Grid2Op by its name."""
    if settings.python is None:
        return {}
    if n_bus not in _PEER_ENVS:
        known = " and ".join(map(str, _PEER_ENVS))
        return {"grid2op": {"error": f"ships environments of {known} buses, not of {n_bus}"}}
    reports = {}
    for engine in _ENGINES:
        report = peer_process.run(
            settings.python, "grid2op_env", _PEER_TIMEOUT_S, env=_PEER_ENVS[n_bus], engine=engine,
            seconds=settings.seconds, repeats=_PEER_REPEATS,
        )  # fmt: skip
        say(f"{engine}: {report.get('error') or f'{_rate(report):,.0f} steps/s'}")
        reports[engine] = report
    return reports


def _best(ours: list[dict], peers: dict[str, dict]) -> dict:
    """Returns our fastest doing nothing, each peer's rate, and ours over it; resets apart."""
    idle = [row["steps_per_s"] for row in ours if row["policy"] == "do_nothing"]
    rates = {name: None if "error" in peer else _rate(peer) for name, peer in peers.items()}
    return comparison.ratios(max(idle, default=None), rates)


def _rate(report: dict) -> float:
    return report["steps_per_s"]["median"]
