"""Trains an experiment by gradients, or as its file says, and scores it as the other scripts do.

    python examples/trainer.py --config=case14 --layout=setpoints
    python examples/trainer.py --config=ieee13_mg

OUT/curve.jsonl has the mean return of the validation days that `rllib_ppo.py` and `sb3_ppo.py`
play, too, over steps and seconds. The last line is JSON: steps a second, and that return at the
end.
"""

import argparse
import json
import pathlib
import time

import numpy as np

import gridracer


def main() -> None:
    """Trains as the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="ieee13_mg", help="an experiment, or a file of one")
    parser.add_argument("--layout", help="of observations and actions; by default its own")
    parser.add_argument("--steps", type=int, help="of training; by default its own")
    parser.add_argument("--days", type=int, default=8, help="validation days")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between validations")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("runs/trainer"))
    given = parser.parse_args()
    if given.days < 1:
        parser.error(f"--days={given.days}: must be 1 or more")
    # What is scored here need not be scored by the trainer too.
    overrides = {"evaluator.period_seconds": 1e9, "evaluator.episodes": 1}
    if given.layout:
        overrides["env.layout"] = given.layout
    if given.steps:
        overrides["run.steps"] = given.steps
    trainer = gridracer.Trainer(given.config, given.out, overrides=overrides)
    from gridracer import vector_env  # After the trainer: it has jax begin with its devices.

    options, days = trainer.experiment.env, given.days
    env = vector_env.make(options.case, days, "normal", "easy", "validation", layout=options.layout)
    policy, do_nothing = trainer.policy(), float(env.play(None).mean())

    def score() -> float:
        policy.reset()
        return float(env.play(lambda _: np.asarray(policy(env.states))).mean())

    score()  # Compiles.
    curve, began, paused, due = [], None, 0.0, 0.0
    for metrics in trainer:
        if curve and metrics["step"] == curve[-1]["step"]:
            break  # The final scores, on days of its own.
        now = time.monotonic()
        began = began or now  # The first round compiles.
        seconds = now - began - paused
        if seconds < due and metrics["step"] < trainer.experiment.run.steps:
            continue
        policy.bundle = trainer.policy().bundle  # One compiled policy plays them all.
        point = {"step": int(metrics["step"]), "seconds": seconds}
        curve.append({**point, "return": score(), "do_nothing": do_nothing})
        paused, due = paused + time.monotonic() - now, seconds + given.every
    about = {"experiment": options.case, "name": "Gridracer"}
    with (given.out / "curve.jsonl").open("w") as file:  # `launch.bench plot` draws such files.
        for point in curve:
            file.write(json.dumps({**about, **point}) + "\n")
    first, final = curve[0], curve[-1]
    seconds = final["seconds"]
    report = {
        "steps": final["step"],
        "minutes": seconds / 60.0,
        # Of one round, which compiles, nobody knows.
        "steps_per_second": (final["step"] - first["step"]) / seconds if seconds else None,
        "return": final["return"],
        "days": days,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
