"""What lies on which device, and that programs on all of them take it."""

import jax
import numpy as np

from learner import devices as devices_lib

DEVICES = jax.devices()[:2]
ENTRIES = np.arange(6.0, dtype=np.float32).reshape(2, 3)


def test_each_entry_is_put_on_the_device_that_it_is_for():
    placed = devices_lib.put({"entries": ENTRIES, "none": None}, DEVICES)["entries"]
    shards = {shard.device: np.asarray(shard.data).ravel() for shard in placed.addressable_shards}
    assert list(shards) == DEVICES
    np.testing.assert_array_equal(list(shards.values()), ENTRIES)


def test_programs_take_what_was_put_replicated_or_returned_by_others():
    average = devices_lib.mapped(lambda x: jax.lax.pmean(x, devices_lib.AXIS), DEVICES)
    double = devices_lib.mapped(
        lambda tree: jax.tree.map(lambda x: 2 * x, tree), DEVICES, donate_argnums=0
    )
    mean = average(double(devices_lib.put(ENTRIES, DEVICES)))
    np.testing.assert_array_equal(mean, [2 * ENTRIES.mean(0)] * 2)
    state = jax.jit(lambda: {"x": jax.numpy.ones(3), "count": jax.numpy.int32(4)})()
    twice = double(devices_lib.replicate(state, DEVICES))
    own = devices_lib.first(twice)
    assert own["x"].tolist() == [2.0, 2.0, 2.0] and own["count"] == 8
    assert own["count"].dtype == np.int32


def test_what_is_replicated_is_a_copy():
    kept = np.ones((2**16,), np.float32)  # so large that jax would read it where it is
    replicas = devices_lib.replicate(kept, DEVICES)
    more = devices_lib.mapped(lambda x: x + 1, DEVICES, donate_argnums=0)(replicas)
    assert (np.asarray(more) == 2.0).all() and (kept == 1.0).all()
