"""What tests share: two virtual devices, and the case14 environment."""

import os

# Before jax is imported anywhere.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()

import jax
import pytest

from agents import networks as networks_lib
from agents.options import TeamOptions
from envs import grid_env
from envs.case import case_file
from envs.options import EnvOptions
from launch.host import compilation

compilation.use_cache()


@pytest.fixture(scope="session")
def case14():
    return case_file.load("case14")


@pytest.fixture(scope="session")
def case118():
    return case_file.load("case118")


@pytest.fixture(scope="session")
def env():
    return grid_env.make(EnvOptions())


@pytest.fixture(scope="session")
def networks(env):
    return networks_lib.make(env.layout, TeamOptions(policy_layers=(16,), value_layers=(16,)))


@pytest.fixture
def key():
    return jax.random.PRNGKey(0)
