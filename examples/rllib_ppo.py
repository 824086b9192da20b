"""Trains RLlib's PPO on a team's environment, with a policy for each agent or shared ones.

    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --policies=own
    python examples/rllib_ppo.py --case=case14 --team=nodes --policies=shared --minutes=5
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --critic=central   # MAPPO
    python examples/rllib_ppo.py --case=case14 --team=centralised --envs=64   # in one compiled call
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --lr=1e-4,3e-4 --iterations=20
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --restore=runs/rllib/checkpoint
    python examples/rllib_ppo.py --case=ieee13_mg --team=microgrids --address=auto --runners=2

With several learning rates Ray Tune trains one run for each. Every --every seconds validation days
are played by the most likely actions, OUT/curve.jsonl gets their mean return over steps and
seconds, and OUT/checkpoint what has been learned. The last line is JSON: steps a second, and that
return at the end.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import shutil
import sys

import gymnasium
import numpy as np
import ray
import torch
import tree
from pettingzoo.utils import BaseParallelWrapper
from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian
from ray.rllib.core.rl_module.apis import ValueFunctionAPI
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv

from gridracer import gymnasium_env, parallel_env, vector_env

_NAME = "gridracer"
# Of the infos' day, what RLlib's results repeat by name. Any metric may stand here, your own too.
METRICS = ("reward", "operating_cost", "generation_cost", "voltage_violations", "losses")


@dataclasses.dataclass(frozen=True)
class Task:
    """Whose days are played, and by which team."""

    case: str
    team: str
    central: bool  # whether values depend on all that is observed

    @property
    def alone(self) -> bool:
        """Whether one agent operates the grid: then a batch of grids is stepped in one call."""
        return self.team == "centralised"

    def make(self, *which: str):
        """Returns the team's environment of a scenario, level and split; by default to train in."""
        env = parallel_env.make(self.case, self.team, *which)
        return WithState(env) if self.central else env

    def register(self) -> None:
        """Tells RLlib how to make the environment to train in."""

        def create(config: dict):
            if not self.alone:
                return ParallelPettingZooEnv(self.make())
            if "num_envs" in config:
                return vector_env.make(self.case, config["num_envs"])
            return gymnasium_env.make(self.case)

        tune.register_env(_NAME, create)


class WithState(BaseParallelWrapper):
    """Agents observe `own`, what is theirs, and `state`, what all of them observe together."""

    def observation_space(self, agent: str) -> gymnasium.spaces.Dict:
        """Returns both."""
        return gymnasium.spaces.Dict(
            {"own": self.env.observation_space(agent), "state": self.env.state_space}
        )

    def reset(self, seed=None, options=None):
        """Returns observations and infos by agent."""
        seen, infos = self.env.reset(seed=seed, options=options)
        return self._both(seen), infos

    def step(self, actions):
        """Returns observations, rewards, terminations, truncations and infos by agent."""
        seen, *rest = self.env.step(actions)
        return self._both(seen), *rest

    def _both(self, seen):
        state = self.env.state()
        return {name: {"own": own, "state": state} for name, own in seen.items()}


class ActorCritic(TorchRLModule, ValueFunctionAPI):
    """A policy of what an agent observes, and values of that and, if it is there, the `state`.

    The policy begins close to what is planned: means near 0, and deviations of `initial_std`.
    RLlib's own begin with a deviation of 1, which is all that a set-point can move.
    """

    def setup(self):
        """Builds both networks."""
        space, moved = self.observation_space, self.action_space.shape[0]
        own = space["own"] if isinstance(space, gymnasium.spaces.Dict) else space
        self._policy = _dense(own.shape[0], moved)
        self._values = _dense(gymnasium.spaces.flatdim(space), 1)
        self._log_std = torch.nn.Parameter(
            torch.full((moved,), float(np.log(self.model_config["initial_std"])))
        )
        with torch.no_grad():
            self._policy[-1].weight.mul_(0.01)
            self._policy[-1].bias.zero_()
        self.action_dist_cls = TorchDiagGaussian

    def _forward(self, batch, **kwargs):
        seen = batch[Columns.OBS]
        means = self._policy(seen["own"] if isinstance(seen, dict) else seen)
        deviations = self._log_std.expand_as(means)
        return {Columns.ACTION_DIST_INPUTS: torch.cat([means, deviations], -1)}

    def compute_values(self, batch, embeddings=None):
        """Returns what a discounted rest of the day is worth `[...]`."""
        seen = batch[Columns.OBS]
        if isinstance(seen, dict):
            seen = torch.cat([seen["own"], seen["state"]], -1)
        return self._values(seen).squeeze(-1)


def _dense(read: int, told: int) -> torch.nn.Sequential:
    linear, tanh = torch.nn.Linear, torch.nn.Tanh
    return torch.nn.Sequential(
        linear(read, 256), tanh(), linear(256, 256), tanh(), linear(256, told)
    )


class DayMetrics(RLlibCallback):
    """Logs metrics of days that have ended, as `day/NAME` among the results of env runners."""

    def on_episode_end(self, *, episode, metrics_logger, **kwargs):
        """Takes them from the last infos, of a team those of any agent."""
        infos = episode.get_infos(-1)
        infos = infos if "day" in infos else next(iter(infos.values()))
        for name in METRICS:
            metrics_logger.log_value(f"day/{name}", infos["day"][name], window=100)


@dataclasses.dataclass(frozen=True)
class Validation:
    """Plays validation days every so many seconds, and keeps what is known of a run.

    `validation/seconds` counts by RLlib's clock from the end of the first iteration, which
    compiles; it stands while validation days are played.
    """

    task: Task
    days: int
    every: float  # seconds
    out: pathlib.Path  # gets `curve.jsonl`, which `launch.bench plot` draws, and `checkpoint`
    name: str  # of the curve
    tuned: bool = False  # one of several runs: Tune keeps their checkpoints
    before: float = 0.0  # seconds of the run that this one goes on from

    def __call__(self, *, algorithm: Algorithm, result: dict, **kwargs) -> None:
        """Adds to a result what validation days returned when they were last played."""
        known, now = getattr(algorithm, "known", None), result["time_total_s"]
        if known is None:
            do_nothing = play(None, self.task, self.days)
            known = {"began": now, "do_nothing": do_nothing, "seconds": -np.inf}
        known = {**known, "now": now - known["began"]}
        known["step"] = int(result["env_runners"]["num_env_steps_sampled_lifetime"])
        algorithm.known = known
        if known["now"] - known["seconds"] >= self.every:
            self.score(algorithm)
        result["validation"] = algorithm.known

    def score(self, algorithm: Algorithm) -> float:
        """Returns what validation days return, and writes it and a checkpoint."""
        known = algorithm.known
        if known["seconds"] == known["now"]:
            return known["return"]
        scored = play(algorithm, self.task, self.days)
        algorithm.known = known = {**known, "seconds": known["now"], "return": scored}
        line = {"experiment": self.task.case, "name": self.name}
        if self.tuned:
            line["trial"] = f"lr={algorithm.config.lr:g}"
        line |= {"step": known["step"], "seconds": self.before + known["now"], "return": scored}
        with (self.out / "curve.jsonl").open("a") as file:
            file.write(json.dumps({**line, "do_nothing": known["do_nothing"]}) + "\n")
        if not self.tuned:
            fresh, kept = self.out / "checkpoint.new", self.out / "checkpoint"
            shutil.rmtree(fresh, ignore_errors=True)
            algorithm.save_to_path(str(fresh))
            shutil.rmtree(kept, ignore_errors=True)
            fresh.rename(kept)
        return scored


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


def configure(given: argparse.Namespace, lr: float, validation: Validation) -> PPOConfig:
    """Returns PPO on the environment of a team, as the command line says."""
    task = validation.task
    task.register()
    # One agent learns from pieces of days, which a batch of grids has many of.
    fragment = 32 if task.alone else 288
    config = (
        PPOConfig()
        .environment(_NAME)
        .env_runners(
            num_env_runners=given.runners, num_envs_per_env_runner=given.envs,
            rollout_fragment_length=fragment,
            batch_mode="truncate_episodes" if task.alone else "complete_episodes",
            gym_env_vectorize_mode="vector_entry_point" if task.alone else "sync",
            sample_timeout_s=1800,  # A runner compiles before it has the first sample.
        )
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=ActorCritic, model_config={"initial_std": given.std}
            )
        )
        .training(
            lr=lr, gamma=0.9, lambda_=0.9,
            train_batch_size_per_learner=fragment * max(given.runners, 1) * given.envs,
            minibatch_size=given.minibatch, num_epochs=given.epochs, grad_clip=0.5,
            use_kl_loss=False, vf_clip_param=1e4,
        )
        .callbacks(DayMetrics, on_train_result=validation)
        .debugging(seed=given.seed)
    )  # fmt: skip
    if task.alone:
        return config
    env = task.make()
    policies = {name: policy_of(name, env, given.policies) for name in env.possible_agents}
    return config.multi_agent(
        policies=set(policies.values()),
        policy_mapping_fn=functools.partial(_mapped, policies),
    )


def _mapped(policies: dict[str, str], agent: str, episode, **kwargs) -> str:
    return policies[agent]


def play(algorithm: Algorithm | None, task: Task, days: int) -> float:
    """Returns the mean return of validation days, played by the most likely actions; none: by 0.

    They are the days of `launch.evaluate --scenarios=normal --split=validation`, in step.
    """
    if task.alone:
        batch = vector_env.make(task.case, days, "normal", "easy", "validation")
        act = algorithm and (lambda seen: _mode(algorithm.get_module(), list(seen)))
        return float(batch.play(act).mean())
    envs = [task.make("normal", "easy", "validation") for _ in range(days)]
    seen = [env.reset(options={"day": day})[0] for day, env in enumerate(envs)]
    agents, returns = envs[0].possible_agents, np.zeros(days)
    while running := [day for day, env in enumerate(envs) if env.agents]:
        actions: list[dict] = [{} for _ in envs]
        for agent in agents:
            batch = [seen[day][agent] for day in running]
            moved = np.zeros((len(running), *envs[0].action_space(agent).shape), np.float32)
            if algorithm is not None:
                module = algorithm.get_module(algorithm.config.policy_mapping_fn(agent, None))
                moved = _mode(module, batch)
            for day, action in zip(running, moved):
                actions[day][agent] = action
        for day in running:
            seen[day], *_, infos = envs[day].step(actions[day])
            if not envs[day].agents:
                returns[day] = infos[agents[0]]["day"]["reward"]
    return float(returns.mean())


def _mode(module, seen: list) -> np.ndarray:
    batch = tree.map_structure(lambda *each: torch.from_numpy(np.stack(each)), *seen)
    with torch.no_grad():
        logits = module.forward_inference({Columns.OBS: batch})
    distribution = module.get_inference_action_dist_cls().from_logits(
        logits[Columns.ACTION_DIST_INPUTS]
    )
    return np.clip(distribution.to_deterministic().sample().numpy(), -1.0, 1.0)


def train(algorithm: Algorithm, iterations: int, minutes: float) -> dict[str, float | None]:
    """Trains for so many iterations, or minutes after the first, whichever is over first.

    Returns steps, minutes and steps a second, which are unknown of the first, which compiles.
    """
    before, day = None, float("nan")
    for iteration in range(1, iterations + 1):
        result = algorithm.train()
        known, ended = result["validation"], result["env_runners"].get("day/reward", day)
        day = day if np.isnan(ended) else ended  # In an iteration none may end.
        if known["seconds"] == known["now"]:
            print(
                f"iteration {iteration}  steps {known['step']:,}  day's reward {day:.3f}  "
                f"validation {known['return']:.3f}  do_nothing {known['do_nothing']:.3f}",
                flush=True,
            )
        before = known["step"] if before is None else before
        if known["now"] > 60.0 * minutes:
            break
    steps, seconds = known["step"], known["now"]
    per_second = (steps - before) / seconds if steps > before else None
    return {"steps": steps, "minutes": seconds / 60.0, "steps_per_second": per_second}


def main() -> None:
    """Trains as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--case", default="ieee13_mg", help="a shipped case, or a file's path")
    parser.add_argument("--team", default="microgrids", help="kind of team, as nodes or mappo")
    parser.add_argument("--policies", default="own", choices=["own", "shared"])
    parser.add_argument(
        "--critic", default="local", choices=["local", "central"],
        help="values of what an agent observes, or of all that is observed, too (MAPPO)",
    )  # fmt: skip
    parser.add_argument("--iterations", type=int, default=10**6)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, compiled")
    parser.add_argument("--runners", type=int, default=0, help="processes that step; 0: this one")
    parser.add_argument("--envs", type=int, default=4, help="grids of each, a day for each batch")
    parser.add_argument("--lr", default="3e-4", help="learning rate; several are tuned over")
    parser.add_argument("--epochs", type=int, default=4, help="times that a batch is learned from")
    parser.add_argument("--minibatch", type=int, default=288, help="steps of an agent in one")
    parser.add_argument("--std", type=float, default=0.1, help="of actions, at the beginning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--days", type=int, default=8, help="validation days")
    parser.add_argument("--every", type=float, default=20.0, help="seconds between validations")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/rllib"))
    parser.add_argument("--restore", type=pathlib.Path, help="a checkpoint to go on from")
    parser.add_argument("--address", help="of a Ray cluster; by default one is begun here")
    given = parser.parse_args()
    for flag in ("iterations", "envs", "epochs", "minibatch", "days"):
        if getattr(given, flag) < 1:
            parser.error(f"--{flag}={getattr(given, flag)}: must be 1 or more")
    rates = [float(rate) for rate in given.lr.split(",")]
    if given.restore and not given.restore.is_dir():
        parser.error(f"--restore={given.restore}: no such folder")
    if given.restore and len(rates) > 1:
        parser.error(f"--restore goes on with one learning rate, and --lr={given.lr} has several")
    out = given.out.resolve()
    curve, before = out / "curve.jsonl", 0.0
    if curve.exists():
        if given.restore is None or given.restore.resolve() != out / "checkpoint":
            parser.error(
                f"--out={given.out}: has a run already; give another folder, or go on from it with "
                f"--restore={given.out / 'checkpoint'}"
            )
        before = json.loads(curve.read_text().splitlines()[-1])["seconds"]
    task = Task(given.case, given.team, given.critic == "central")
    if task.alone and task.central:
        parser.error("--critic=central: one agent, of --team=centralised, observes all by itself")
    name = f"RLlib {'MAPPO' if task.central else 'PPO'}"
    name += "" if task.alone else f", {given.policies} policies"
    tuned = len(rates) > 1
    validation = Validation(
        task, given.days, given.every, out, name + ", Tune" * tuned, tuned, before
    )
    config = configure(given, rates[0], validation)
    # A cluster that runs has its own settings; connecting to it takes none of them.
    ray.init(
        address=given.address, log_to_driver=False,
        **({} if given.address else {"include_dashboard": False}),
    )  # fmt: skip
    if (cpus := int(ray.cluster_resources().get("CPU", 0))) < given.runners + tuned:
        parser.error(  # A trial takes a CPU for itself.
            f"--runners={given.runners}: a CPU each{' and one for the trial' if tuned else ''}, "
            f"and Ray has {cpus}; give fewer, or add nodes to the cluster"
        )
    torch.set_num_threads(1)  # Layers are small: threads cost more than they save.
    out.mkdir(parents=True, exist_ok=True)
    if tuned:
        algorithm, report = tune_rates(given, config, rates, out)
        final = play(algorithm, task, given.days)
        algorithm.save_to_path(str(out / "checkpoint"))
    else:
        algorithm = config.build_algo()
        if given.restore:
            algorithm.restore_from_path(str(given.restore.resolve()))
        try:
            report = train(algorithm, given.iterations, given.minutes)
        except KeyboardInterrupt:
            told = "interrupted before validation days were played: nothing is kept"
            if (out / "checkpoint").exists():
                told = f"interrupted: go on with --out={given.out} --restore={out / 'checkpoint'}"
            sys.exit(told)
        final = validation.score(algorithm)
    report |= {
        "return": final,
        "days": given.days,
        "policies": sorted({*algorithm.config.policies}),
        "nodes": nodes(algorithm),
        "checkpoint": str(out / "checkpoint"),
    }
    algorithm.stop()
    print(json.dumps(report))


def tune_rates(given, config: PPOConfig, rates: list[float], out: pathlib.Path):
    """Trains a run for each learning rate, and returns the best and what to report of them."""
    stop = {
        "training_iteration": min(given.iterations, 1000), "validation/now": 60.0 * given.minutes,
    }  # fmt: skip
    results = tune.Tuner(
        "PPO",
        param_space=config.copy(copy_frozen=False).training(lr=tune.grid_search(rates)),
        run_config=tune.RunConfig(
            name="tune", storage_path=str(out), verbose=1, stop=stop,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=True),
        ),
    ).fit()  # fmt: skip
    best = results.get_best_result("validation/return", "max")
    return (
        Algorithm.from_checkpoint(best.checkpoint.path),
        {"best_lr": best.config["lr"], "runs": len(results)},
    )


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
