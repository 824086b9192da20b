"""Maintenance and faults: as often as asked, repaired, and never dividing the grid by plan."""

import itertools

import jax
import numpy as np
import pytest
from support.connected import is_whole

from envs.case import connectivity
from envs.options import EnvOptions
from envs.time_series import outages
from envs.time_series.series import FAULT, IN_SERVICE, MAINTENANCE


@pytest.mark.parametrize("case", ("case14", "case118"))
def test_branches_are_classed_by_what_their_loss_divides(request, case):
    grid = request.getfixturevalue(case)
    classes = connectivity.classes(grid)
    bridges = [not is_whole(grid, {branch}) for branch in range(grid.n_branch)]
    np.testing.assert_array_equal(classes == 0, bridges)
    candidates = np.flatnonzero(classes > 0)
    if case == "case118":
        candidates = np.random.default_rng(0).choice(candidates, 24, replace=False)
    for a, b in itertools.combinations(candidates, 2):
        assert is_whole(grid, {a, b}) == (classes[a] != classes[b]), (a, b)


def statuses(grid, n, **change):
    chosen = EnvOptions(**change)
    draw = jax.jit(jax.vmap(lambda k: outages.sample(k, grid, chosen, 289)))
    return tuple(map(np.asarray, draw(jax.random.split(jax.random.PRNGKey(2), n))))


def test_maintenance_leaves_the_grid_whole(case14):
    branch, gen = statuses(
        case14, 300, maintenance_per_day=1.5, branch_faults_per_day=0.0, gen_faults_per_day=0.0
    )
    assert not gen.any() and set(np.unique(branch)) == {IN_SERVICE, MAINTENANCE}
    out = branch.any(1)
    assert abs(out.sum(1).mean() - 1.5) < 0.1 and set(out.sum(1)) == {1, 2}
    assert all(is_whole(case14, set(np.flatnonzero(day))) for day in np.unique(out, axis=0))
    hours = branch.any((0, 2)).nonzero()[0] / 12
    assert hours.min() >= 8 and hours.max() < 18
    assert len(np.unique(out.argmax(1))) > 10


def test_faults_come_as_often_as_asked_and_are_repaired(case14):
    branch, gen = statuses(
        case14, 4000, maintenance_per_day=0.0, branch_faults_per_day=0.6, gen_faults_per_day=0.3
    )
    for status, rate in ((branch, 0.6), (gen, 0.3)):
        assert set(np.unique(status)) == {IN_SERVICE, FAULT}
        faults = status.any(1).sum(1)
        assert abs(faults.mean() - rate) < 5 * np.sqrt(rate / 4000)
        assert not status[:, 0].any()
        ended = (status[:, -1] == IN_SERVICE)[:, None] & (status > 0)
        hours = ended.sum(1)[ended.any(1)] / 12
        assert hours.min() >= 4 and hours.max() <= 8 and abs(hours.mean() - 6) < 0.15
    assert (branch.any(1).mean(0) > 0).all(), "every branch faults"
    never = ~outages.may_trip(case14)
    assert never.any() and not gen[..., never].any(), "but no unit that the rest cannot replace"


def test_rates_of_zero_leave_everything_in_service(case14):
    branch, gen = statuses(
        case14, 50, maintenance_per_day=0.0, branch_faults_per_day=0.0, gen_faults_per_day=0.0
    )
    assert not branch.any() and not gen.any()


@pytest.mark.parametrize(
    "change",
    (
        {"maintenance_per_day": 2.5},
        {"maintenance_per_day": -0.1},
        {"branch_faults_per_day": -1.0},
        {"gen_faults_per_day": float("nan")},
    ),
)
def test_rates_that_mean_nothing_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        EnvOptions(**change)
