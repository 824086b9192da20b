"""What can be chosen about learning."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds, choices
from envs.inputs.bounds import Range

OBJECTIVES = ("ppo", "analytic", "both")
CORRECTIONS = ("clip", "vtrace", "decoupled")
# Reward terms that may be limited; the derivative of a count is zero.
COUNTS = ("insecurity", "steps_in_violation", "switching", "trips")
LIMITED = (
    "overload", "voltage_violation", "reactive_violation", "angle_violation",
    "frequency_excursion", "energy_not_served", *COUNTS,
)  # fmt: skip

_LIMITS = Range(1e-6, 1e9)


@dataclasses.dataclass(frozen=True)
class LearnerOptions(bounds.Options, prefix="learner."):
    """Options of the learner. The text beside each field is its help."""

    objective: Annotated[
        str,
        "what the policy is improved by: ppo; analytic, gradients through the environment; or both",
    ] = "ppo"
    window: Annotated[
        int,
        "steps that analytic gradients look through before the value function; 0 for ppo",
        Range(0, 1440),
    ] = 0
    bootstrap: Annotated[
        bool,
        "whether windows end in the value function; without it they look no further than their end",
    ] = True
    loading_margin: Annotated[
        float, "loading of a branch from which analytic gradients price it", Range(0, 1000)
    ] = 0.93
    reactive_margin: Annotated[
        float,
        "reactive power, MVAr, within a generator's limits from which analytic gradients price it",
        Range(0, 1e6),
    ] = 0.0
    devices: Annotated[int, "devices the update is spread over", Range(1, 1024)] = 2
    unrolls_per_update: Annotated[int, "unrolls joined into one training batch", Range(1, 1024)] = 2
    epochs: Annotated[int, "passes over a batch", Range(1, 1000)] = 4
    minibatches: Annotated[int, "gradient steps in a pass", Range(1, 2**20)] = 4
    learning_rate: Annotated[float, "Adam's step size at the start", Range(0, 1, above=True)] = 2e-4
    final_learning_rate: Annotated[
        float,
        "share of the step size that is left at the end, along half a cosine; 1 keeps it",
        Range(0, 1),
    ] = 1.0
    target_kl: Annotated[
        float,
        "divergence of an update that the step size is steered to; 0 keeps it constant",
        Range(0, 1000),
    ] = 0.01
    gae_lambda: Annotated[float, "decay of generalised advantage estimation", Range(0, 1)] = 0.95
    clip: Annotated[
        float, "how far a probability ratio may leave 1", Range(0, 1000, above=True)
    ] = 0.2
    correction: Annotated[
        str,
        "what makes up for actors that lag behind: clip, of ratios to the policy that acted; "
        "vtrace, weights on targets and gradients; decoupled, clip of ratios to the newest policy",
    ] = "clip"
    entropy_cost: Annotated[float, "weight of the entropy bonus", Range(0, 1e6)] = 1e-4
    final_entropy_cost: Annotated[
        float,
        "share of the entropy bonus that is left at the end, along half a cosine; 1 keeps it",
        Range(0, 1),
    ] = 1.0
    reward_limit: Annotated[
        float,
        "rewards beyond this, either way, are learned from as this; 0 takes them as they are. Keep "
        "it above team.effective_horizon times what a bad step costs, or ending an episode looks "
        "cheap",
        Range(0, 1e9),
    ] = 0.0
    value_decay: Annotated[
        float, "share of old value statistics kept by an update", Range(0, 1)
    ] = 0.99
    value_clip: Annotated[
        float,
        "how far a value may move in an update, in standard deviations of value targets; 0 for any",
        Range(0, 1000),
    ] = 0.0
    limits: Annotated[
        str,
        "what a day may have of reward terms at most, by Lagrange multipliers, e.g. "
        "overload=0.5,voltage_violation=0.01 in MVAh and pu h; none: prices alone",
    ] = ""
    multiplier_rate: Annotated[
        float, "step size of the logarithms of multipliers", Range(0, 1, above=True)
    ] = 0.05

    @property
    def limits_per_day(self) -> dict[str, float]:
        """What a day may have of each limited reward term, in its unit."""
        limits = {}
        for part in self.limits.split(",") if self.limits else ():
            name, _, value = part.partition("=")
            choices.require("learner.limits", name, LIMITED)
            try:
                limit = float(value)
            except ValueError:
                limit = -1.0
            if name in limits or not _LIMITS.contains(limit):
                raise ValueError(
                    f"learner.limits={part}: give each term once, with a number {_LIMITS} a day"
                )
            limits[name] = limit
        return limits

    def check(self) -> None:
        """Raises ValueError where the objective does not exist, or does not fit the rest."""
        choices.require("learner.objective", self.objective, OBJECTIVES)
        choices.require("learner.correction", self.correction, CORRECTIONS)
        if self.objective == "analytic" and self.correction == "decoupled":
            raise ValueError(
                "learner.correction=decoupled: learner.objective=analytic has no ratio to clip; "
                "leave learner.correction=clip"
            )
        if self.objective == "analytic" and self.final_entropy_cost != 1.0:
            raise ValueError(
                f"learner.final_entropy_cost={self.final_entropy_cost}: learner.objective=analytic "
                "has no entropy bonus; leave learner.final_entropy_cost=1"
            )
        counts = [name for name in self.limits_per_day if name in COUNTS]
        if self.objective == "analytic" and counts:
            raise ValueError(
                f"learner.limits={counts[0]}: a count has no derivative to learn from; set "
                "learner.objective=ppo or both"
            )
        if self.objective == "ppo" and not self.bootstrap:
            raise ValueError(
                "learner.bootstrap=false: learner.objective=ppo has no windows; leave "
                "learner.bootstrap=true"
            )
        if (self.objective == "ppo") != (self.window == 0):
            raise ValueError(
                f"learner.window={self.window}: with learner.objective={self.objective} it must be "
                + ("0" if self.objective == "ppo" else "at least 1")
            )
        if self.target_kl and self.final_learning_rate != 1.0:
            raise ValueError(
                f"learner.final_learning_rate={self.final_learning_rate}: the step size follows "
                "either this or learner.target_kl; set learner.target_kl=0"
            )


def check_batch(options: LearnerOptions, length: int, batch: int) -> None:
    """Checks that unrolls of `length` steps and `batch` grids split over devices and minibatches.

    Raises:
      ValueError: they do not; the message says what would.
    """
    grids = options.unrolls_per_update * batch
    if grids % options.devices:
        multiple = -(-batch // options.devices) * options.devices
        raise ValueError(
            f"actor.batch={batch} with learner.unrolls_per_update={options.unrolls_per_update} "
            f"gives {grids} grids in a training batch, which learner.devices={options.devices} "
            f"does not divide; try actor.batch={multiple}"
        )
    if options.window and length % options.window:
        raise ValueError(
            f"learner.window={options.window}: does not divide actor.unroll_length={length}"
        )
    windows = options.window and length // options.window * grids // options.devices
    if windows % options.minibatches:
        raise ValueError(
            f"learner.minibatches={options.minibatches} does not divide the {windows} windows of "
            f"{options.window} steps that each of {options.devices} devices gets"
        )
    share = length * grids // options.devices
    if share % options.minibatches:
        raise ValueError(
            f"learner.minibatches={options.minibatches} does not divide the {share} steps that "
            f"each of {options.devices} devices gets (actor.unroll_length={length}, "
            f"actor.batch={batch}, learner.unrolls_per_update={options.unrolls_per_update}); "
            "try a power of two for each"
        )
