"""Trains Stable-Baselines3's PPO on a batch of grids.

    python examples/sb3_ppo.py --id=gridracer/case14-v0 --envs=64 --minutes=5

OUT/curve.jsonl has the mean return of validation days that the policy plays by its most likely
actions, over steps and seconds, and OUT/policy.zip the policy. The last line is JSON: steps a
second, and that return at the end. Ctrl-C ends training early, with all of that.
"""

import argparse
import contextlib
import json
import pathlib
import time

import gymnasium
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor

from gridracer import sb3, vector_env

METRICS = ("reward", "operating_cost", "voltage_violations", "losses")  # of a day's infos


class DayMetrics(BaseCallback):
    """Logs metrics of days that have ended as `day/NAME`, plays validation days, and ends in time.

    The clock begins with the second rollout, the first that compiles nothing, and stands while
    validation days are played.
    """

    def __init__(self, minutes: float, every: float, name: str, days: int):
        super().__init__()
        self._minutes, self._every, self._task = minutes, every, (name, days)
        self._began, self._paused, self._due = None, 0.0, 0.0
        self.before, self.curve = 0, []
        self._do_nothing = play(None, name, days)

    def seconds(self) -> float:
        """Returns for how long it has learned."""
        return 0.0 if self._began is None else time.monotonic() - self._began - self._paused

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            for name in METRICS if "day" in info else ():
                self.logger.record_mean(f"day/{name}", info["day"][name])
        return self.seconds() < 60.0 * self._minutes

    def _on_rollout_start(self) -> None:
        if self._began is None and self.num_timesteps:
            self._began, self.before = time.monotonic(), self.num_timesteps
        if self._began is not None and self.seconds() >= self._due:
            self.validate()

    def validate(self) -> float:
        """Returns what validation days return, and adds it to the curve."""
        seconds, began = self.seconds(), time.monotonic()
        scored = play(self.model, *self._task)
        self.curve.append(
            {
                "step": self.num_timesteps, "seconds": seconds, "return": scored,
                "do_nothing": self._do_nothing,
            }
        )  # fmt: skip
        self._paused += time.monotonic() - began
        self._due = seconds + self._every
        return scored


def play(model: PPO | None, name: str, days: int) -> float:
    """Returns the mean return of validation days; without a model actions are as planned.

    They are the days of `launch.evaluate --scenarios=normal --split=validation`.
    """
    case = gymnasium.spec(name).kwargs["case"]
    env = vector_env.make(case, days, "normal", "easy", "validation")
    act = model and (lambda seen: model.predict(seen, deterministic=True)[0])
    return float(env.play(act).mean())


def main() -> None:
    """Trains as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--id", default="gridracer/case14-v0", help="of Gymnasium's registry")
    parser.add_argument("--envs", type=int, default=64, help="grids in the batch")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, compiled")
    parser.add_argument("--steps", type=int, default=10**9, help="of training, at most")
    parser.add_argument("--days", type=int, default=8, help="validation days")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between validations")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/sb3"))
    given = parser.parse_args()
    for flag in ("envs", "steps", "days"):
        if getattr(given, flag) < 1:
            parser.error(f"--{flag}={getattr(given, flag)}: must be 1 or more")
    if (given.out / "curve.jsonl").exists():
        parser.error(f"--out={given.out}: has a run already; give another folder")
    torch.set_num_threads(1)  # Layers are small: threads cost more than they save.
    grids = gymnasium.make_vec(given.id, given.envs, autoreset="same_step").unwrapped
    model = PPO(
        "MlpPolicy", VecMonitor(sb3.GridVecEnv(grids)), n_steps=32, batch_size=512, n_epochs=4,
        gamma=0.9, gae_lambda=0.9, learning_rate=3e-4, verbose=1, seed=0,
        policy_kwargs={"log_std_init": -1.0, "net_arch": [128, 128]},
    )  # fmt: skip
    timer = DayMetrics(given.minutes, given.every, given.id, given.days)
    with contextlib.suppress(KeyboardInterrupt):
        model.learn(given.steps, callback=timer, log_interval=20)
    seconds = timer.seconds()
    report = {
        "steps": model.num_timesteps,
        "minutes": seconds / 60.0,
        # Of the first rollout, which compiles, nobody knows.
        "steps_per_second": (model.num_timesteps - timer.before) / seconds if seconds else None,
        "return": timer.validate(),
        "days": given.days,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    model.save(given.out / "policy.zip")
    about = {"experiment": gymnasium.spec(given.id).kwargs["case"], "name": "SB3 PPO"}
    with (given.out / "curve.jsonl").open("w") as file:  # `launch.bench plot` draws such files.
        for point in timer.curve:
            file.write(json.dumps({**about, **point}) + "\n")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
