"""Trains RLlib's PPO on a team's environment, with a policy for each agent or shared ones.

    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --policies=own
    python examples/rllib_ppo.py --case=case14 --team=nodes --policies=shared --minutes=5
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --lr=1e-4,3e-4 --iterations=20
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --restore=FOLDER
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --address=auto --runners=2

With several learning rates Ray Tune trains one run for each. OUT/curve.jsonl has the mean return of
validation days that the policies play by their most likely actions, over steps and seconds. The
last line is JSON: steps a second, and that return at the end.
"""

import argparse
import functools
import json
import pathlib

import numpy as np
import ray
import torch
from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.ppo_catalog import PPOCatalog
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
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


def validate(every: float, days: dict, *, algorithm: Algorithm, result: dict, **kwargs) -> None:
    """Adds to a result what validation days return, played again every so many seconds.

    `validation/seconds` counts by RLlib's clock from the end of the first iteration, which
    compiles; it stands while validation days are played.
    """
    known, now = getattr(algorithm, "known", None), result["time_total_s"]
    if known is None:
        known = {"began": now, "do_nothing": play(None, algorithm.config, **days), "seconds": -1e9}
    seconds = now - known["began"]
    if seconds - known["seconds"] >= every:
        steps = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
        scored = play(algorithm, algorithm.config, **days)
        known = {**known, "step": steps, "seconds": seconds, "return": scored}
    algorithm.known = result["validation"] = known


class QuietCatalog(PPOCatalog):
    """Policies that begin close to what is planned: means near 0, and a small deviation.

    RLlib's own begin with a standard deviation of 1, which is all that a set-point can move.
    """

    def build_pi_head(self, framework: str):
        """Returns RLlib's head with a small last layer and `initial_std` of the model's config."""
        head = super().build_pi_head(framework)
        with torch.no_grad():
            head.log_std.fill_(float(np.log(self._model_config_dict["initial_std"])))
            last = [layer for layer in head.modules() if isinstance(layer, torch.nn.Linear)][-1]
            last.weight.mul_(0.01)
            last.bias.zero_()
        return head


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


def configure(given: argparse.Namespace, lr: float) -> PPOConfig:
    """Returns PPO on the environment of a team, as the command line says."""
    case, team = given.case, given.team
    tune.register_env(
        _NAME, lambda config: ParallelPettingZooEnv(parallel_env.make(case, team, **config))
    )
    env = parallel_env.make(case, team)
    policies = {name: policy_of(name, env, given.policies) for name in env.possible_agents}
    days = {"case": case, "team": team, "days": given.days}
    return (
        PPOConfig()
        .environment(_NAME)
        .env_runners(
            num_env_runners=given.runners, num_envs_per_env_runner=given.envs,
            rollout_fragment_length=288, batch_mode="complete_episodes",
        )
        .multi_agent(
            policies=set(policies.values()),
            policy_mapping_fn=functools.partial(_mapped, policies),
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(
                catalog_class=QuietCatalog,
                model_config={"free_log_std": True, "initial_std": given.std},
            )
        )
        .training(
            lr=lr, gamma=0.9, lambda_=0.9,
            train_batch_size_per_learner=288 * max(given.runners, 1) * given.envs,
            minibatch_size=given.minibatch, num_epochs=given.epochs, grad_clip=0.5,
            use_kl_loss=False, vf_clip_param=1e4,
        )
        .callbacks(DayMetrics, on_train_result=functools.partial(validate, given.every, days))
    )  # fmt: skip


def _mapped(policies: dict[str, str], agent: str, episode, **kwargs) -> str:
    return policies[agent]


def play(algorithm: Algorithm | None, config: PPOConfig, case: str, team: str, days: int) -> float:
    """Returns the mean return of validation days, played by the most likely actions; none: by 0.

    They are the days of `launch.evaluate --scenarios=normal --split=validation`, in step.
    """
    envs = [parallel_env.make(case, team, "normal", "easy", "validation") for _ in range(days)]
    seen = [env.reset(options={"day": day})[0] for day, env in enumerate(envs)]
    agents, returns = envs[0].possible_agents, np.zeros(days)
    while running := [day for day, env in enumerate(envs) if env.agents]:
        actions: list[dict] = [{} for _ in envs]
        for agent in agents:
            batch = np.stack([seen[day][agent] for day in running])
            moved = np.zeros((len(running), *envs[0].action_space(agent).shape), np.float32)
            if algorithm is not None:
                module = algorithm.get_module(config.policy_mapping_fn(agent, None))
                moved = _mode(module, batch)
            for day, action in zip(running, moved):
                actions[day][agent] = action
        for day in running:
            seen[day], *_, infos = envs[day].step(actions[day])
            if not envs[day].agents:
                returns[day] = infos[agents[0]]["day"]["reward"]
    return float(returns.mean())


def _mode(module, batch: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        logits = module.forward_inference({Columns.OBS: torch.from_numpy(batch)})
    distribution = module.get_inference_action_dist_cls().from_logits(
        logits[Columns.ACTION_DIST_INPUTS]
    )
    return np.clip(distribution.to_deterministic().sample().numpy(), -1.0, 1.0)


def train(algorithm: Algorithm, iterations: int, minutes: float) -> tuple[dict, list[dict]]:
    """Trains for so many iterations, or minutes after the first, whichever is over first.

    Returns steps, minutes and steps a second, and what was known of validation days.
    """
    began, steps, before, known = None, 0, 0, []
    for iteration in range(1, iterations + 1):
        result = algorithm.train()
        steps = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
        day = result["env_runners"].get("day/reward", float("nan"))
        known.append(result["validation"])
        print(
            f"iteration {iteration}  steps {steps:,}  day's reward {day:.3f}  "
            f"validation {known[-1]['return']:.3f}", flush=True,
        )  # fmt: skip
        if began is None:  # Programs are compiled now.
            began, before = result["time_total_s"], steps
        elif result["time_total_s"] - began > 60.0 * minutes:
            break
    seconds = result["time_total_s"] - began
    per_second = (steps - before) / seconds if steps > before else float("nan")
    return {"steps": steps, "minutes": seconds / 60.0, "steps_per_second": per_second}, known


def write_curve(path: pathlib.Path, about: dict, known: list[dict]) -> None:
    """Appends a line of JSON for each time that validation days were played.

    `launch.bench plot` draws such files.
    """
    points = {point["step"]: point for point in known}
    with path.open("a") as file:
        for step in sorted(points):
            told = {name: points[step][name] for name in ("step", "seconds", "return")}
            line = {**about, **told, "do_nothing": points[step]["do_nothing"]}
            file.write(json.dumps(line) + "\n")


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
    parser.add_argument("--envs", type=int, default=4, help="grids of each, a day for each batch")
    parser.add_argument("--lr", default="3e-4", help="learning rate; several are tuned over")
    parser.add_argument("--epochs", type=int, default=4, help="times that a batch is learned from")
    parser.add_argument("--minibatch", type=int, default=288, help="steps of an agent in one")
    parser.add_argument("--std", type=float, default=0.1, help="of actions, at the beginning")
    parser.add_argument("--days", type=int, default=8, help="validation days")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between validations")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/rllib"))
    parser.add_argument("--restore", help="folder of a checkpoint to go on from")
    parser.add_argument("--address", help="of a Ray cluster; by default one is begun here")
    given = parser.parse_args()
    # A cluster that runs has its own settings; connecting to it takes none of them.
    ray.init(
        address=given.address, log_to_driver=False,
        **({} if given.address else {"include_dashboard": False}),
    )  # fmt: skip
    trials = given.lr.count(",") > 0  # Each takes a CPU for itself.
    if (cpus := int(ray.cluster_resources().get("CPU", 0))) < given.runners + trials:
        parser.error(
            f"--runners={given.runners}: a CPU each{' and one for the trial' if trials else ''}, "
            f"and Ray has {cpus}; give fewer, or add nodes to the cluster"
        )
    torch.set_num_threads(1)  # Layers are small: threads cost more than they save.
    rates = [float(rate) for rate in given.lr.split(",")]
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    (out / "curve.jsonl").unlink(missing_ok=True)
    about = {"experiment": given.case, "name": f"RLlib PPO, {given.policies} policies"}
    config = configure(given, rates[0])
    if len(rates) > 1:
        stop = {
            "training_iteration": min(given.iterations, 1000),
            "validation/seconds": 60.0 * given.minutes,
        }
        results = tune.Tuner(
            "PPO",
            param_space=config.copy(copy_frozen=False).training(lr=tune.grid_search(rates)),
            run_config=tune.RunConfig(
                name="tune", storage_path=str(out), verbose=1, stop=stop,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
            ),
        ).fit()  # fmt: skip
        for trial in results:
            rows = trial.metrics_dataframe.filter(like="validation/")
            known = rows.rename(columns=lambda name: name.removeprefix("validation/"))
            tried = {"name": f"{about['name']}, Tune", "trial": f"lr={trial.config['lr']:g}"}
            write_curve(out / "curve.jsonl", {**about, **tried}, known.to_dict("records"))
        best = results.get_best_result("validation/return", "max")
        algorithm = Algorithm.from_checkpoint(best.checkpoint.path)
        report = {"best_lr": best.config["lr"], "runs": len(results)}
    else:
        if given.restore:
            algorithm = Algorithm.from_checkpoint(str(pathlib.Path(given.restore).resolve()))
        else:
            algorithm = config.build_algo()
        report, known = train(algorithm, given.iterations, given.minutes)
    checkpoint = algorithm.save_to_path(str(out / "checkpoint"))
    final = play(algorithm, algorithm.config, given.case, given.team, given.days)
    if len(rates) == 1:
        ended = {"step": report["steps"], "seconds": 60.0 * report["minutes"], "return": final}
        write_curve(out / "curve.jsonl", about, [*known, {**known[-1], **ended}])
    report |= {
        "return": final,
        "days": given.days,
        "policies": sorted({*algorithm.config.policies}),
        "nodes": nodes(algorithm),
        "checkpoint": str(checkpoint),
    }
    algorithm.stop()
    print(json.dumps(report))


def nodes(algorithm: Algorithm) -> list[str]:
    """Returns the ids of the nodes of the Ray cluster on which grids are stepped."""
    return sorted({
        *algorithm.env_runner_group.foreach_env_runner(
            lambda runner: ray.get_runtime_context().get_node_id(),
            local_env_runner=not algorithm.config.num_env_runners,
        )
    })  # fmt: skip


if __name__ == "__main__":
    main()
