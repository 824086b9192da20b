"""Pools that runs make for themselves."""

import dataclasses

import pytest
from support import time_series_statistics

from envs.options import EnvOptions
from evaluation.scenarios import preparation
from launch import pools

RECORDED = EnvOptions(
    time_series=str(time_series_statistics.folder("rte_case14_realistic")), scenarios="recorded",
    horizon_steps=12,
)  # fmt: skip


def test_a_run_goes_on_with_the_recorded_days_that_it_began_with(tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "_CACHE", tmp_path)
    here = preparation._Here()  # in place of processes
    monkeypatch.setattr(preparation, "_executor", lambda processes: here)
    said = []
    first = pools.with_pool(RECORDED, said.append)
    assert pools.with_pool(first, said.append) == first and len(said) == 1
    other = dataclasses.replace(first, load_scale=0.9)
    with pytest.raises(ValueError, match="env.time_series=.*others than those that the run began"):
        pools.with_pool(other, said.append)
