"""What tests share: the case14 environment, how programs are compiled, and the last line."""

import os
import pathlib
import time

# Before jax is imported anywhere.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
).strip()

import jax
import pytest
from support import command_server

from agents import networks as networks_lib
from agents.options import TeamOptions
from envs import grid_env
from envs.case import case_file
from envs.options import EnvOptions
from launch.host import runtime

runtime.keep()
# Tests compile many programs that are too small for the cache otherwise.
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


_STARTED = pytest.StashKey[float]()
_MAPPINGS = pathlib.Path("/proc/self/maps")  # a line for each; Linux alone
_MANY = 30_000  # mappings: half of what Linux allows a process


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Lets quick tests compile quickly.

    Most of their time goes into compiling programs that then run for milliseconds; without
    optimisation XLA takes half as long. The processes that tests start inherit it. Slow tests, and
    all tests with JAX_DISABLE_MOST_OPTIMIZATIONS=0, as in CI, run programs as users do.
    """
    config.stash[_STARTED] = time.monotonic()
    if config.option.markexpr == "not slow":
        quick = os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        jax.config.update("jax_disable_most_optimizations", quick == "1")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    """Returns one process more than there are cores: whole runs wait as much as they compute."""
    return min(len(os.sched_getaffinity(0)) + 1, 5)


def pytest_collection_modifyitems(items):
    """Puts whole runs first: they take longest, and tests that share one stay together."""
    items.sort(key=lambda item: "launch" not in item.path.parts)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session, exitstatus):
    """Ends with a line that says what passed and how long it took."""
    result = yield
    config = session.config
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter and not hasattr(config, "workerinput"):  # not in a process of xdist
        passed, failed = (
            sum(len(reporter.stats.get(name, ())) for name in names)
            for names in (["passed"], ["failed", "error"])
        )
        count = len(getattr(config.option, "tx", None) or [0])
        minutes, seconds = divmod(round(time.monotonic() - config.stash[_STARTED]), 60)
        kind = {"not slow": "quick ", "slow": "slow "}.get(config.option.markexpr, "")
        reporter.write_line(
            ("passed: " if exitstatus == 0 else f"FAILED: {failed:,}; passed: ")
            + f"{passed:,} {kind}tests in {minutes} min {seconds} s"
            + f" on {count} process{'es' if count > 1 else ''}"
        )
    return result


@pytest.fixture(autouse=True, scope="module")
def few_mappings():
    """Forgets compiled programs before Linux refuses to map more of them.

    Newer releases of jax map every kernel by itself, and where that is refused (`vm.max_map_count`,
    65,530 by default) while a program is read from the cache, the process ends.
    """
    yield
    if _MAPPINGS.exists() and _MAPPINGS.read_bytes().count(b"\n") > _MANY:
        jax.clear_caches()


@pytest.fixture(scope="session")
def refusal():
    """What a command says to a mistake, on both streams: `refusal(command, *arguments)`.

    Not in a process of its own, which would import everything each time, but in a fork of one.
    """
    servers = {}

    def ask(command, *arguments):
        if command not in servers:
            servers[command] = command_server.Server(command)
        done = servers[command].run(arguments)
        assert done["code"] == 2 and "Traceback" not in done["err"], done
        return done["out"], done["err"]

    yield ask
    for server in servers.values():
        server.close()


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
