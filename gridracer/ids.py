"""The names that Gymnasium knows: `gridracer/CASE-v0`, `gridracer/CASE-SCENARIO-LEVEL-v0`."""

from collections.abc import Iterator

from envs.case import case_file

_VERSION = "v0"
# As in `evaluation.scenarios.suite`, which imports jax: `import gridracer` is to be quick.
SCENARIOS = ("normal", "peak", "failure", "intermittency", "cascade", "emergency", "weather")
LEVELS = ("easy", "hard")


def tasks() -> Iterator[tuple[str, dict[str, str]]]:
    """Yields each id, and what of a task it names."""
    for case in case_file.names():
        yield f"gridracer/{case}-{_VERSION}", {"case": case}
        for scenario in SCENARIOS:
            for level in LEVELS:
                named = {"case": case, "scenario": scenario, "level": level}
                yield f"gridracer/{case}-{scenario}-{level}-{_VERSION}", named


def register() -> None:
    """Registers every id with Gymnasium, where that is installed, and not twice."""
    try:
        import gymnasium
    except ModuleNotFoundError:
        return
    for name, named in tasks():
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point="gridracer.gymnasium_env:make",
                vector_entry_point="gridracer.vector_env:make",
                kwargs=named,
            )
