"""Why a branch is out, who may close it, and when."""

import jax.numpy as jnp
import numpy as np

from envs.step import switching
from envs.time_series import series

OUT = [series.IN_SERVICE, series.MAINTENANCE]
IN = [series.IN_SERVICE, series.IN_SERVICE]


def advance(state, status):
    return switching.advance(state, jnp.asarray(status))


def switch(state, *action, cooldown=3):
    return switching.switch(state, jnp.asarray(action), cooldown)


def closed(state):
    return np.asarray(state.closed).tolist()


def test_what_the_controller_opened_stays_open_through_an_outage():
    state = switch(switching.initial(2), 0.0, -1.0).state
    for status in (IN, OUT, OUT, IN, IN, IN):
        state = advance(state, status)
        assert closed(state) == [True, False]
    assert int(state.why[1]) == switching.OPENED and int(state.cooldown[1]) == 0
    assert closed(switch(state, 0.0, 1.0).state) == [True, True]


def test_what_tripped_waits_for_its_hour_whatever_the_series_does():
    state = switching.trip(switching.initial(2), jnp.array([False, True]), jnp.zeros(2), 3)
    seen = []
    for status in (OUT, IN, IN, IN):
        state = advance(state, status)
        seen.append(closed(state)[1])
    assert seen == [False, False, True, True]


def test_what_the_series_takes_comes_back_with_it_and_cannot_be_switched():
    state = advance(switching.initial(2), OUT)
    for action in (-1.0, 1.0):
        switched = switch(state, 0.0, action)
        assert int(switched.operations) == int(switched.refused) == 0
        assert closed(switched.state) == [True, False]
    opened = advance(switch(switching.initial(2), 0.0, -1.0, cooldown=0).state, OUT)
    assert int(switch(opened, 0.0, 1.0).operations) == 0
    assert closed(advance(state, IN)) == [True, True]


def test_a_trip_that_was_waited_for_during_an_outage_is_over_with_it():
    state = switching.trip(switching.initial(2), jnp.array([False, True]), jnp.zeros(2), 2)
    for status in (OUT, OUT, OUT):
        state = advance(state, status)
        assert not closed(state)[1]
    assert closed(advance(state, IN)) == [True, True]


def test_one_breaker_moves_and_then_waits():
    switched = switch(switching.initial(2), -0.6, -0.9)
    assert closed(switched.state) == [True, False]
    assert (int(switched.operations), int(switched.refused)) == (1, 1)
    again = switch(advance(switched.state, IN), 0.0, 1.0)
    assert (int(again.operations), int(again.refused)) == (0, 1)


def test_steps_above_the_limit_are_counted_in_service_alone():
    rho, none = jnp.array([1.2, 1.2]), jnp.zeros(2, bool)
    state = switching.trip(switching.initial(2), none, rho, 3)
    state = switching.trip(state, none, rho, 3)
    assert np.asarray(state.overloaded).tolist() == [2, 2]
    assert np.asarray(advance(state, OUT).overloaded).tolist() == [2, 0]
    below = switching.trip(state, none, 0.9 * jnp.ones(2), 3)
    assert np.asarray(below.overloaded).tolist() == [0, 0]


def test_what_does_not_reclose_waits_for_the_controller():
    state = switching.trip(switching.initial(2), jnp.array([False, True]), jnp.zeros(2), 2)
    for _ in range(4):
        early = switch(state, 0.0, 1.0)
        if int(state.cooldown[1]) > 0:  # asked too early
            assert int(early.refused) == 1 and closed(early.state) == [True, False]
        state = switching.advance(state, jnp.asarray(IN), recloses=False)
        assert closed(state) == [True, False]
    switched = switch(state, 0.0, 1.0)
    assert int(switched.operations) == 1 and closed(switched.state) == [True, True]
