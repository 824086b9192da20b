"""What can be chosen about learning."""

import dataclasses
from typing import Annotated

from envs.inputs import bounds
from envs.inputs.bounds import Range


@dataclasses.dataclass(frozen=True)
class LearnerOptions(bounds.Options, prefix="learner."):
    """Options of the learner. The text beside each field is its help."""

    devices: Annotated[int, "devices the update is spread over", Range(1, 1024)] = 2
    unrolls_per_update: Annotated[int, "unrolls joined into one training batch", Range(1, 1024)] = 2
    epochs: Annotated[int, "passes over a batch", Range(1, 1000)] = 4
    minibatches: Annotated[int, "gradient steps in a pass", Range(1, 2**20)] = 4
    learning_rate: Annotated[float, "Adam's step size at the start", Range(0, 1, above=True)] = 2e-4
    target_kl: Annotated[
        float,
        "divergence of an update that the step size is steered to; 0 keeps it constant",
        Range(0, 1000),
    ] = 0.01
    gae_lambda: Annotated[float, "decay of generalised advantage estimation", Range(0, 1)] = 0.95
    clip: Annotated[
        float, "how far a probability ratio may leave 1", Range(0, 1000, above=True)
    ] = 0.2
    entropy_cost: Annotated[float, "weight of the entropy bonus", Range(0, 1e6)] = 1e-4
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
    share = length * grids // options.devices
    if share % options.minibatches:
        raise ValueError(
            f"learner.minibatches={options.minibatches} does not divide the {share} steps that "
            f"each of {options.devices} devices gets (actor.unroll_length={length}, "
            f"actor.batch={batch}, learner.unrolls_per_update={options.unrolls_per_update}); "
            "try a power of two for each"
        )
