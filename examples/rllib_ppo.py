"""Trains RLlib's PPO on a team's environment, with a policy for each agent or shared ones.

    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --policies=own
    python examples/rllib_ppo.py --case=case14 --team=nodes --policies=shared --minutes=5
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --lr=1e-4,3e-4 --iterations=20
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --restore=FOLDER

With several learning rates Ray Tune trains one run for each. The last line is JSON: steps a second,
and the mean return of validation days that the policies play by their most likely actions.
"""

import argparse
import functools
import json
import pathlib
import time

import numpy as np
import ray
import torch
from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.columns import Columns
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv

from gridracer import parallel_env

_NAME = "gridracer"
# Of the infos' day, what RLlib's results repeat by name. Any metric may stand here, your own too.
METRICS = ("reward", "operating_cost", "generation_cost", "voltage_violations", "losses")


class DayMetrics(RLlibCallback):
    """Logs metrics of days that have ended, as `day/NAME` among the results of env runners."""

    def on_episode_end(self, *, episode, metrics_logger, **kwargs):
        """Takes them from the last infos of any agent."""
        infos = next(iter(episode.get_infos(-1).values()))
        for name in METRICS:
            metrics_logger.log_value(f"day/{name}", infos["day"][name], window=100)


def policy_of(agent: str, env: parallel_env.GridParallelEnv, sharing: str) -> str:
    """Returns the policy of an agent: its own, or one shared by agents of its role and spaces."""
    if sharing == "own":
        return f"{agent}_policy"
    role = env.role(agent)
    shapes = lambda name: (env.observation_space(name).shape, env.action_space(name).shape)
    kinds = [shapes(name) for name in env.possible_agents if env.role(name) == role]
    kinds = list(dict.fromkeys(kinds))
    number = f"_{kinds.index(shapes(agent)) + 1}" if len(kinds) > 1 else ""
    return f"{role}{number}_policy"


def configure(case: str, team: str, sharing: str, runners: int, lr: float) -> PPOConfig:
    """Returns PPO on the environment of a team, with RLlib's settings for continuous control."""
    tune.register_env(
        _NAME, lambda config: ParallelPettingZooEnv(parallel_env.make(case, team, **config))
    )
    env = parallel_env.make(case, team)
    policies = {name: policy_of(name, env, sharing) for name in env.possible_agents}
    return (
        PPOConfig()
        .environment(_NAME)
        .env_runners(
            num_env_runners=runners, rollout_fragment_length=288, batch_mode="complete_episodes"
        )
        .multi_agent(
            policies=set(policies.values()),
            policy_mapping_fn=functools.partial(_mapped, policies),
        )
        .training(
            lr=lr, gamma=0.9, lambda_=0.9, train_batch_size_per_learner=288 * max(runners, 1) * 2,
            minibatch_size=144, num_epochs=10, grad_clip=0.5, use_kl_loss=False, vf_clip_param=1e4,
        )
        .callbacks(DayMetrics)
    )  # fmt: skip


def _mapped(policies: dict[str, str], agent: str, episode, **kwargs) -> str:
    return policies[agent]


def play(algorithm: Algorithm, case: str, team: str, days: int) -> float:
    """Returns the mean return of validation days, played by the most likely actions.

    They are the days of `launch.evaluate --scenarios=normal --split=validation`.
    """
    env = parallel_env.make(case, team, "normal", "easy", "validation")
    mapping, returns = algorithm.config.policy_mapping_fn, []
    for day in range(days):
        observations, _ = env.reset(options={"day": day})
        while env.agents:
            actions = {
                name: _mode(algorithm.get_module(mapping(name, None)), seen)
                for name, seen in observations.items()
            }
            observations, *_, infos = env.step(actions)
        returns.append(infos[env.possible_agents[0]]["day"]["reward"])
    return float(np.mean(returns))


def _mode(module, seen: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        logits = module.forward_inference({Columns.OBS: torch.from_numpy(seen[None])})
    distribution = module.get_inference_action_dist_cls().from_logits(
        logits[Columns.ACTION_DIST_INPUTS]
    )
    return np.clip(distribution.to_deterministic().sample()[0].numpy(), -1.0, 1.0)


def train(algorithm: Algorithm, iterations: int, minutes: float) -> dict[str, float]:
    """Trains for so many iterations, or minutes after the first, whichever is over first."""
    began, steps, before = None, 0, 0
    for iteration in range(1, iterations + 1):
        runners = algorithm.train()["env_runners"]
        steps = int(runners["num_env_steps_sampled_lifetime"])
        day = runners.get("day/reward", float("nan"))
        print(f"iteration {iteration}  steps {steps:,}  day's reward {day:.3f}", flush=True)
        if began is None:  # Programs are compiled now.
            began, before = time.monotonic(), steps
        elif time.monotonic() - began > 60.0 * minutes:
            break
    seconds = time.monotonic() - began
    per_second = (steps - before) / seconds if steps > before else float("nan")
    return {"steps": steps, "minutes": seconds / 60.0, "steps_per_second": per_second}


def main() -> None:
    """Trains as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", default="ieee13_mg", help="a shipped case, or a file's path")
    parser.add_argument("--team", default="microgrids", help="kind of team, as nodes or mappo")
    parser.add_argument("--policies", default="own", choices=["own", "shared"])
    parser.add_argument("--iterations", type=int, default=10**6)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, compiled")
    parser.add_argument("--runners", type=int, default=0, help="processes that step; 0: this one")
    parser.add_argument("--lr", default="3e-4", help="learning rate; several are tuned over")
    parser.add_argument("--days", type=int, default=8, help="validation days at the end")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/rllib"))
    parser.add_argument("--restore", help="folder of a checkpoint to go on from")
    parser.add_argument("--address", help="of a Ray cluster; by default one is begun here")
    given = parser.parse_args()
    ray.init(address=given.address, include_dashboard=False, log_to_driver=False)
    rates = [float(rate) for rate in given.lr.split(",")]
    out = given.out.resolve()
    config = configure(given.case, given.team, given.policies, given.runners, rates[0])
    if len(rates) > 1:
        results = tune.Tuner(
            "PPO",
            param_space=config.copy(copy_frozen=False).training(lr=tune.grid_search(rates)),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(out), verbose=1,
                stop={"training_iteration": min(given.iterations, 1000)},
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            ),
        ).fit()  # fmt: skip
        best = results.get_best_result("env_runners/day/reward", "max")
        algorithm = Algorithm.from_checkpoint(best.checkpoint.path)
        report = {"best_lr": best.config["lr"], "runs": len(results)}
    else:
        if given.restore:
            algorithm = Algorithm.from_checkpoint(str(pathlib.Path(given.restore).resolve()))
        else:
            algorithm = config.build_algo()
        report = train(algorithm, given.iterations, given.minutes)
    checkpoint = algorithm.save_to_path(str(out / "checkpoint"))
    report |= {
        "return": play(algorithm, given.case, given.team, given.days),
        "days": given.days,
        "policies": sorted({*algorithm.config.policies}),
        "checkpoint": str(checkpoint),
    }
    algorithm.stop()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
