"""Controllers of the user's own, by where they are: `FILE.py:NAME` or `MODULE:NAME`.

NAME is a function that takes an environment and returns a controller, as those of
`agents/baselines` do; or an agent of Grid2Op, see `agents/grid2op/controller.py`.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from agents import controllers
from agents.baselines import registry
from agents.grid2op import controller as grid2op_controller
from envs import grid_env
from envs.inputs import choices
from envs.options import EnvOptions

Make = Callable[[grid_env.GridEnv], controllers.Controller]
EXAMPLE = "mine.py:cautious"


class OwnController(NamedTuple):
    """A controller that does not ship."""

    name: str  # what results and reports call it
    make: Make
    version: str  # of the file that it is in; others are not told from one another
    check: Callable[[EnvOptions], object] | None = None  # raises ValueError where it cannot play


def is_own(given: str | Make) -> bool:
    """Returns whether a controller is named by where it is, or is there in memory."""
    return callable(given) or ":" in given


def load(given: Sequence[str | Make], taken: Sequence[str] = ()) -> list[OwnController]:
    """Returns the controllers that are `given` as `FILE.py:NAME`, `MODULE:NAME`, or functions.

    Raises:
      ValueError: one cannot be had, or has the name of another, or one in `taken`.
    """
    loaded: dict[str, OwnController] = {}
    for each in given:
        made = _loaded(each) if isinstance(each, str) else _own(each, repr(each))
        where = each if isinstance(each, str) else repr(each)
        if made.name in (*registry.BASELINES, *taken, *loaded):
            raise ValueError(
                f"--controllers={where}: there is a controller called {made.name} already; give "
                "yours another name"
            )
        loaded[made.name] = made
    return list(loaded.values())


def _loaded(reference: str) -> OwnController:
    where, _, name = reference.rpartition(":")
    module = _file(where, reference) if where.endswith(".py") else _module(where, reference)
    if not hasattr(module, name):
        ours = lambda value: getattr(value, "__module__", None) == module.__name__
        known = [n for n, v in vars(module).items() if callable(v) and ours(v) and n[0] != "_"]
        raise ValueError(
            f"--controllers={reference}: {choices.hint(name, known)}{where} has no {name!r}; it "
            f"has {', '.join(known) or 'no function or class'}"
        )
    return _own(getattr(module, name), reference)


def _file(where: str, reference: str) -> types.ModuleType:
    path = pathlib.Path(where)
    if not path.is_file():
        raise ValueError(f"--controllers={reference}: there is no file {where}")
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent.resolve()))  # so that it finds what lies beside it
    try:
        # Known by its name while it is read, as dataclasses in it ask for.
        sys.modules.setdefault(path.stem, module)
        spec.loader.exec_module(module)
    except Exception as error:
        raise ValueError(_broken(reference, error)) from error
    finally:
        sys.path.remove(str(path.parent.resolve()))
        if sys.modules.get(path.stem) is module:
            del sys.modules[path.stem]
    return module


def _module(where: str, reference: str) -> types.ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what others import
            return importlib.import_module(where)
    except Exception as error:
        raise ValueError(_broken(reference, error)) from error


def _broken(reference: str, error: Exception) -> str:
    return (
        f"--controllers={reference}: cannot be imported ({type(error).__name__}: {error}); give "
        f"FILE.py:NAME, as {EXAMPLE}, or MODULE:NAME"
    )


def _own(found: object, where: str) -> OwnController:
    if not callable(found):
        raise ValueError(
            f"--controllers={where}: is a {type(found).__name__}; it must be a function of an "
            "environment that returns a controller, or an agent of Grid2Op"
        )
    name, guest = found.__name__, _of_grid2op(found)
    make = grid2op_controller.playing(found) if guest else _checked(found, where)
    try:
        path = inspect.getfile(found)
        source = pathlib.Path(path).read_bytes()
    except (TypeError, OSError):  # built in, or typed at a prompt
        path, source = "", repr(found).encode()
    version = hashlib.sha256(source).hexdigest()
    check = grid2op_controller.environment if guest else None
    return OwnController(name, _guarded(make, name, path), version, check)


def _of_grid2op(found: Callable) -> bool:
    bases = getattr(found, "__mro__", ())
    named = found.__name__ == grid2op_controller.MAKE_AGENT
    return named or any(base.__module__.startswith("grid2op.Agent") for base in bases)


def _checked(function: Callable, where: str) -> Make:
    def make(env: grid_env.GridEnv) -> controllers.Controller:
        made = function(env)
        if not isinstance(made, controllers.Controller):
            raise ValueError(
                f"--controllers={where}: returns a {type(made).__name__}; it must return an "
                "agents.controllers.Controller, see docs/howto/baseline.md"
            )
        return made

    return make


def _guarded(make: Make, name: str, path: str) -> Make:
    """Returns `make` of a controller in the file `path` whose errors end its plays and no more."""

    def guarded(env: grid_env.GridEnv) -> controllers.Controller:
        with _named(name, path):
            made = make(env)

        def start(days, seed):
            with _named(name, path):
                return made.start(days, seed)

        def act(state, days, memory):
            with _named(name, path):
                actions, memory = made.act(state, days, memory)
                size = len(days.day), env.layout.action_size
                if np.shape(actions) != size:
                    raise ValueError(f"returns actions {np.shape(actions)}; they must be {size}")
                return actions, memory

        return dataclasses.replace(made, name=name, start=start, act=act)

    return guarded


@contextlib.contextmanager
def _named(name: str, path: str):
    """Says of any error where it is in the file `path`, or else in what is not Gridracer's."""
    try:
        yield
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        root = str(pathlib.Path(__file__).parents[1])
        own = [frame for frame in frames if not frame.filename.startswith(root)]
        own = [frame for frame in frames if frame.filename == path] or own
        at = f" ({pathlib.Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
        raise RuntimeError(f"{name}: {type(error).__name__}: {error}{at}") from error
