"""Finds pandapower networks: a .json of `pandapower.to_json`, or a name of `pandapower.networks`.

    pandapower_file.read("mine.json")
    pandapower_file.named("pandapower:mv_oberrhein")

pandapower is imported only here and where a network is converted, when there is one to read.
"""

import inspect
import json
import logging
import pathlib
import warnings
from collections.abc import Callable, Iterator

from envs.case import validate
from envs.case.conversion import Conversion
from envs.inputs import choices, json_file

PREFIX = "pandapower:"  # ahead of a name of pandapower.networks
LARGEST_MB = 200.0  # of a file: beyond it, reading takes more memory than a usual machine has
_MARK = "pandapowerNet"
# What a network is made of; pandapower would import any other module that a file names.
_MODULES = ("pandapower", "pandas", "numpy", "networkx", "shapely", "geopandas", "builtins", "")
_CLASSES_BUILTIN = ("complex", "tuple", "set", "frozenset", "")


def is_in_memory(case: object) -> bool:
    """Returns whether `case` is a pandapower network, without importing pandapower."""
    return type(case).__name__ == _MARK


def is_network(data: object) -> bool:
    """Returns whether the content of a .json says that it is a pandapower network."""
    return isinstance(data, dict) and data.get("_class") == _MARK


def read(path: str | pathlib.Path) -> Conversion:
    """Returns the grid of a file that `pandapower.to_json` wrote, and what was changed.

    Raises:
      FileNotFoundError: there is no such file.
      validate.CaseError: the file is no such network, or one that cannot be used.
    """
    return converted(network(path), pathlib.Path(path).stem, str(path))


def network(path: str | pathlib.Path):
    """Returns the pandapower network in a file of `pandapower.to_json`; raises as `read`."""
    path = pathlib.Path(path)
    check_size(path)
    try:
        data = json_file.contents(path)
    except ValueError as error:
        raise validate.CaseError(f"{path}: not a pandapower network: {error}") from error
    if not is_network(data):
        raise validate.CaseError(
            f"{path}: not a pandapower network: it should be written by pandapower.to_json"
        )
    for module, name in _named_modules(data):
        known = module.split(".")[0] in _MODULES and (
            module != "builtins" or name in _CLASSES_BUILTIN
        )
        if not known:
            raise validate.CaseError(
                f"{path}: it would load {name!r} of the module {module!r}; a network may hold "
                f"objects of {', '.join(_MODULES[:-2])} alone: leave it out before to_json"
            )
    pandapower = required(str(path))
    with Quiet():
        try:
            return pandapower.from_json(str(path))
        except Exception as error:  # of any kind, from within
            raise validate.CaseError(
                f"{path}: pandapower cannot read it: {error!r}"[:300]
            ) from error


def named(name: str) -> Conversion:
    """Returns the grid `pandapower:NAME` of `pandapower.networks`, and what was changed.

    Raises:
      FileNotFoundError: there is no network of that name.
      validate.CaseError: pandapower is not installed, or the network cannot be used.
    """
    return converted(named_network(name), name.removeprefix(PREFIX), name)


def named_network(name: str):
    """Returns the network `pandapower:NAME` of `pandapower.networks`; raises as `named`."""
    required(name)
    short = name.removeprefix(PREFIX)
    with Quiet():
        known = networks()
        if short not in known:
            raise FileNotFoundError(
                f"no network named {name!r}: {choices.hint(short, known)}pandapower.networks has "
                f"{', '.join(known)}"
            )
        try:
            return known[short]()
        except Exception as error:
            raise validate.CaseError(
                f"{name}: pandapower cannot make it: {error!r}"[:300]
            ) from error


def networks() -> dict[str, Callable]:
    """Returns by name what makes a network of `pandapower.networks` and needs no argument."""
    from pandapower import networks as shipped

    def is_maker(function: object) -> bool:
        if not inspect.isfunction(function) or function.__name__.startswith("_"):
            return False
        parameters = inspect.signature(function).parameters.values()
        return function.__module__.startswith(shipped.__name__) and all(
            parameter.default is not parameter.empty or parameter.kind == parameter.VAR_KEYWORD
            for parameter in parameters
        )

    return {name: each for name, each in sorted(vars(shipped).items()) if is_maker(each)}


def converted(net, name: str, origin: str) -> Conversion:
    """Returns the grid of a pandapower network in memory; `origin` begins messages about it."""
    required(origin)
    from envs.case import pandapower_net

    with Quiet():
        return pandapower_net.convert(net, name, origin)


def converted_with_fleet(net, name: str, origin: str) -> tuple[Conversion, dict]:
    """Returns the grid of a network without its plants and batteries, and a fleet file of them."""
    required(origin)
    from envs.case import pandapower_fleet

    with Quiet():
        return pandapower_fleet.convert(net, name, origin)


def required(origin: str):
    """Returns the module pandapower; raises CaseError where it is not installed."""
    logging.getLogger("pandapower").setLevel(logging.ERROR)  # names packages it could draw with
    try:
        with Quiet():
            import pandapower
    except ImportError as error:
        raise validate.CaseError(
            f"{origin}: it is read by pandapower, which is not installed: make install-formats, or "
            "pip install pandapower"
        ) from error
    return pandapower


def check_size(path: pathlib.Path) -> None:
    """Raises FileNotFoundError where there is no file, CaseError where it is too large to read."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such case file")
    size = path.stat().st_size / 1e6
    if size > LARGEST_MB:
        raise validate.CaseError(
            f"{path}: {size:,.0f} MB; case files may have {LARGEST_MB:,.0f} MB: cut out the part "
            "that you operate"
        )


class Quiet(warnings.catch_warnings):
    """A context without the warnings of pandas and numpy from inside pandapower."""

    def __enter__(self):
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered


def _named_modules(data: object) -> Iterator[tuple[str, str]]:
    """Yields (module, class) of every object in a network, also of those kept as text inside."""
    stack = [data]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if "_module" in value:
                yield str(value["_module"]), str(value.get("_class", ""))
            stack += value.values()
        elif isinstance(value, list):
            stack += value
        elif isinstance(value, str) and value[:1] in ("{", "["):
            try:
                stack.append(json.loads(value))
            except (ValueError, RecursionError):  # text that only looks like an object
                continue
