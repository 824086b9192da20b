"""The devices that a trainer in somebody else's program computes on."""

import os
import sys

from launch.host import placement as placement_lib


def take(count: int) -> str:
    """Has jax begin with the devices that `launch.fused` takes, unless it has begun already.

    What jax reads when it begins is in the environment: `XLA_FLAGS`, `JAX_PLATFORMS` and, for an
    accelerator, which cards or chips. They are set here as `launch.fused` sets them for itself.

    Args:
      count: how many devices are needed, `learner.devices`.

    Returns:
      Why an accelerator is not used that is there, or nothing.

    Raises:
      ValueError: jax has begun with fewer.
    """
    placement, note = None, ""
    if not begun():
        placement = placement_lib.make("auto", 0, count)
        note = placement.note
        os.environ.update(placement.learner.env)
    import jax

    if placement is not None:
        # It may have been imported, and then has read this one already.
        jax.config.update("jax_platforms", placement.learner.env["JAX_PLATFORMS"])
    found = jax.local_devices()
    if len(found) < count:
        raise ValueError(
            f"learner.devices={count}: jax has begun in this process already, with {len(found)} "
            f"{found[0].platform} device(s); make the trainer before jax computes anything, or "
            f"give learner.devices={len(found)}, or set "
            f"XLA_FLAGS=--xla_force_host_platform_device_count={count} for this process"
        )
    return note


def begun() -> bool:
    """Returns whether jax has looked for devices, after which it takes no others."""
    if "jax" not in sys.modules:
        return False
    from jax._src import xla_bridge  # It does not say so elsewhere.

    return xla_bridge.backends_are_initialized()
