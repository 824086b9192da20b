"""Packages that environments of standards are made with, and that nothing else needs."""

import importlib
from types import ModuleType

_STANDARDS = (
    "python -m pip install 'gymnasium>=1.1' 'pettingzoo>=1.25'"  # requirements-environments.in
)
_REMEDIES = {
    "gymnasium": _STANDARDS, "pettingzoo": _STANDARDS,
    "stable_baselines3": "make rllib, or python -m pip install stable-baselines3",
}  # fmt: skip


def required(name: str, module: str = "") -> ModuleType:
    """Returns the package `name`, gymnasium, pettingzoo or stable_baselines3, or a module of it.

    Raises:
      ModuleNotFoundError: it is not installed; the message says how to install it.
    """
    try:
        package = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # something that it needs itself
            raise
        text = f"{name} is not installed, which this environment is made with: {_REMEDIES[name]}"
        raise ModuleNotFoundError(text, name=name) from None
    return importlib.import_module(f"{name}.{module}") if module else package
