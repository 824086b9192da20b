"""Outages and protection by progress: from what a run begins with to what the options say."""

import dataclasses

import jax
import numpy as np
import pytest

from envs.options import EnvOptions
from envs.step import protection
from envs.step.options import ProtectionOptions
from envs.time_series import curriculum, outages
from envs.time_series.series import FAULT, MAINTENANCE

RATES = EnvOptions(maintenance_per_day=0.8, branch_faults_per_day=2.0, gen_faults_per_day=1.0)
GROWING = dataclasses.replace(
    RATES,
    curriculum="maintenance_per_day=0..1,branch_faults_per_day=0..1,gen_faults_per_day=0.5..1",
)


def test_outages_grow_with_progress_to_those_of_the_options(case14):
    sample = jax.jit(
        jax.vmap(
            lambda key, progress: outages.sample(key, case14, GROWING, 289, progress), (0, None)
        )
    )
    usual = jax.jit(jax.vmap(lambda key: outages.sample(key, case14, RATES, 289)))
    keys = jax.random.split(jax.random.PRNGKey(0), 2000)
    counts = {}
    for progress in (0.0, 0.25, 0.5, 1.0):
        branch, gen = map(np.asarray, sample(keys, progress))
        counts[progress] = [
            (branch == MAINTENANCE).any(1).sum(), (branch == FAULT).any(1).sum(),
            (gen == FAULT).any(1).sum(),
        ]  # fmt: skip
    assert sample._cache_size() == 1
    assert counts[0.0][:2] == [0, 0]
    whole = np.array(counts[1.0], float)
    for progress, shares in (
        (0.0, (0, 0, 0.5)),
        (0.25, (0.25, 0.25, 0.625)),
        (0.5, (0.5, 0.5, 0.75)),
    ):
        # Maintenance hides a fault of its branch now and then.
        np.testing.assert_allclose(counts[progress] / whole, shares, atol=0.06)
    jax.tree.map(np.testing.assert_array_equal, sample(keys, 1.0), usual(keys))


def test_a_share_of_days_is_played_with_protection():
    options = EnvOptions(curriculum="protection.enabled=0..1,protection.soft_steps=3..1")
    draw = jax.jit(
        jax.vmap(lambda key, progress: protection.draw(key, options, progress), (0, None))
    )
    keys = jax.random.split(jax.random.PRNGKey(0), 2000)
    for progress, share, soft in ((0.0, 0.0, None), (0.5, 0.5, 8.0), (1.0, 1.0, 4.0)):
        drawn = draw(keys, progress)
        protected = np.isfinite(drawn.hard_limit)
        assert abs(protected.mean() - share) < 0.05
        np.testing.assert_array_equal(protected, np.isfinite(drawn.soft_steps))
        assert set(np.asarray(drawn.soft_steps)[protected]) <= {soft}
        assert set(np.asarray(drawn.hard_limit)[protected]) <= {2.0}
    assert protection.draw(keys[0], GROWING, 0.0) is None


def test_the_end_is_what_the_options_say():
    options = EnvOptions(curriculum="protection.hard_limit=1.7..1,protection.soft_steps=7..1")
    drawn = protection.draw(jax.random.PRNGKey(0), options, 1.0)
    assert (float(drawn.hard_limit), float(drawn.soft_steps)) == (2.0, 4.0)
    assert curriculum.factor(options, "protection.hard_limit", 1.0) == 1.0
    assert curriculum.factor(options, "branch_faults_per_day", 0.3) == 1.0


@pytest.mark.parametrize(
    "text, message",
    [
        ("faults=0..1", "env.curriculum='faults': it must be one of maintenance_per_day"),
        ("branch_faults_per_day", "env.curriculum=branch_faults_per_day: give each option once"),
        ("branch_faults_per_day=0..2", "a factor from 0 to 1 that it begins with and the 1"),
        ("branch_faults_per_day=1", "as in =0..1"),
        ("branch_faults_per_day=2..1", "a factor from 0 to 1"),
        ("protection.soft_steps=0..1", "a factor from 1 to 1000"),
        ("protection.enabled=x..1", "env.curriculum=protection.enabled=x..1: give each"),
        ("gen_faults_per_day=0..1,gen_faults_per_day=0..1", "give each option once"),
    ],
)
def test_a_curriculum_that_cannot_be_is_refused(text, message):
    with pytest.raises(ValueError) as refused:
        EnvOptions(curriculum=text)
    assert message in str(refused.value)


def test_a_curriculum_of_what_never_happens_is_refused():
    with pytest.raises(ValueError, match="env.branch_faults_per_day is 0.0, so that .*; set env.b"):
        EnvOptions(curriculum="branch_faults_per_day=0..1", branch_faults_per_day=0.0)
    with pytest.raises(ValueError, match="env.protection.enabled is false, so that protection.sof"):
        EnvOptions(
            curriculum="protection.soft_steps=3..1", protection=ProtectionOptions(enabled=False)
        )
