"""Gridracer for other programs: train, evaluate and act from Python, environments of standards.

    import gridracer

    trainer = gridracer.Trainer("case14", "runs/mine")
    for metrics in trainer:
        print(metrics["step"])

    env = gymnasium.make("gridracer/case118-cascade-hard-v0")

Names are imported when they are first used: `import gridracer` by itself starts nothing, and tells
Gymnasium, where that is installed, of its environments.
"""

import importlib

from gridracer import ids

_EXPORTS = {
    "Trainer": "gridracer.trainer",
    "Policy": "gridracer.policy",
    "load_policy": "gridracer.policy",
    "Evaluation": "gridracer.evaluation",
    "evaluate": "gridracer.evaluation",
}
_MODULES = ("gymnasium_env", "vector_env", "parallel_env", "metrics")


def __getattr__(name: str):
    """Returns what the package offers under `name`."""
    if name in _MODULES:
        return importlib.import_module(f"gridracer.{name}")
    if name not in _EXPORTS:
        raise AttributeError(f"gridracer has no {name}; it has {', '.join((*_EXPORTS, *_MODULES))}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    """Returns what the package offers."""
    return sorted([*_EXPORTS, *_MODULES])


ids.register()
