"""Packages that environments of standards are made with, and that nothing else needs."""

import importlib
from types import ModuleType

_REMEDY = (
    "python -m pip install 'gymnasium>=1.1' 'pettingzoo>=1.25'"  # requirements-environments.in
)


def required(name: str) -> ModuleType:
    """Returns the package `name`, gymnasium or pettingzoo.

    Raises:
      ModuleNotFoundError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:  # something that it needs itself
            raise
        text = f"{name} is not installed, which environments of gridracer are made with: {_REMEDY}"
        raise ModuleNotFoundError(text, name=name) from None
