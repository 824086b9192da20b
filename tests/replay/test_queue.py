"""The queue, in process and in Reverb, and what the learner makes of it."""

import threading
import time

import jax
import numpy as np
import pytest
import reverb
from support import local_queue

from learner import ingest as ingest_lib
from replay import reverb_queue, schema

T, B, O, U = 3, 4, 5, 2


def make(actor=0, index=0, version=0, fill=0.0):
    at = lambda *shape: np.full(shape, fill, np.float32)
    return schema.Unroll(
        at(T, B, O), at(T, B, U), at(T, B, 1), at(T, B, 1), np.zeros((T, B), bool),
        np.ones((T, B), bool), at(B, O), at(B, O),
        {"episodes": np.float32(1.0), "terms/losses": np.float32(fill)},
        schema.Origin(*(np.int32(n) for n in (actor, 0, index, version))),
    )  # fmt: skip


never = lambda: False
SPEC = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), make())


@pytest.fixture(params=["local", "reverb"])
def ends(request):
    """A writer and a reader of a queue of two unrolls."""
    if request.param == "local":
        queue = local_queue.LocalQueue(2)
        yield queue, queue
    else:
        server = reverb.Server([reverb_queue.table(SPEC, 2)], port=None)
        client = reverb.Client(f"localhost:{server.port}")
        yield reverb_queue.Writer(client), reverb_queue.Reader(client, SPEC)
        server.stop()


def test_unrolls_arrive_in_order_and_unchanged(ends):
    writer, reader = ends
    threading.Thread(
        target=lambda: [writer.write(make(index=i, fill=float(i)), never) for i in range(5)],
        daemon=True,
    ).start()
    stream = reader.read()
    for index in range(5):
        unroll = next(stream)
        jax.tree.map(np.testing.assert_array_equal, unroll, make(index=index, fill=float(index)))


def test_a_full_queue_holds_the_writer_until_told_to_stop(ends):
    writer, reader = ends
    for index in range(2):
        assert writer.write(make(index=index), never)
    assert reader.size() == 2
    started = time.monotonic()
    stop_at = started + 0.7
    assert not writer.write(make(index=2), stopping=lambda: time.monotonic() > stop_at)
    assert time.monotonic() - started < 5.0


def test_bytes_per_transition_counts_everything_sent():
    floats = T * B * (O + U + 2) + 2 * B * O + 2
    assert schema.bytes_per_transition(SPEC) == pytest.approx(
        (4 * floats + 2 * T * B + 4 * 4) / (T * B)
    )


def _ingest(unrolls, per_batch=2, max_lag=2, version=0):
    return ingest_lib.Ingest(iter(unrolls), per_batch, jax.devices()[:2], max_lag, lambda: version)


def test_repeats_are_dropped_and_counted():
    ingest = _ingest([make(0, 0), make(0, 0), make(1, 0)])
    assert ingest.next(5.0) is not None
    assert (ingest.repeats, ingest.stale) == (1, 0)


def test_old_unrolls_are_dropped_and_counted():
    ingest = _ingest(
        [make(0, 0, version=7), make(0, 1, version=8), make(1, 0, version=10)], version=10
    )
    batch = ingest.next(5.0)
    assert sorted(batch.versions) == [8, 10] and ingest.stale == 1


def test_actors_are_joined_in_a_fixed_order_and_split_over_devices():
    ingest = _ingest([make(1, 0, fill=1.0), make(0, 0, fill=0.0)])
    unroll = ingest.next(5.0).unroll
    assert unroll.observations.shape == (2, T, B, O)
    assert unroll.bootstrap_observation.shape == (2, B, O)
    assert np.all(unroll.observations[0] == 0.0) and np.all(unroll.observations[1] == 1.0)
    assert {shard.device for shard in unroll.rewards.addressable_shards} == set(jax.devices()[:2])


def test_an_error_while_reading_reaches_the_learner():
    def broken():
        yield make()
        raise OSError("the queue is gone")

    ingest = _ingest(broken())
    with pytest.raises(OSError, match="the queue is gone"):
        ingest.next(5.0)


def test_no_data_in_time_is_not_an_error():
    def slow():
        yield make()
        threading.Event().wait(30)

    assert _ingest(slow()).next(0.2) is None


def test_a_queue_that_ends_is_an_error():
    with pytest.raises(RuntimeError, match="the queue ended"):
        _ingest([make()]).next(5.0)


def test_one_batch_is_gathered_ahead_and_no_more():
    taken = []

    def stream():
        for index in range(100):
            taken.append(index)
            yield make(index=index)

    ingest = _ingest(stream())
    for batches in (1, 2, 3):
        time.sleep(0.3)
        assert len(taken) == 2 * batches
        assert ingest.next(5.0) is not None
