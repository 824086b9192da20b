"""Reads MATPOWER's struct from a .mat file in a process of its own.

What reads MATLAB's format in scipy is compiled, and ends its process at some damaged files: such a
file is refused here like any other. Run as a program it writes the struct as JSON.
"""

import json
import pathlib
import resource
import subprocess
import sys
from typing import Any

NEEDED = ("baseMVA", "bus", "branch", "gen")
_FIELDS = ("version", *NEEDED, "gencost", "dcline")
_ENTRY = "mpc"
_LONGEST_S = 120.0  # of reading; the largest cases take two seconds
_MEMORY = 8 * 2**30  # bytes that the process may map: a damaged size could be anything


class MatError(ValueError):
    """The file cannot be read; says why, without its name."""


def read(path: pathlib.Path) -> dict[str, Any]:
    """Returns the fields of the struct in the .mat file at `path`, tables as nested lists.

    Raises:
      MatError: it is none, or holds no case.
    """
    command = [sys.executable, "-I", __file__, str(path.absolute())]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_LONGEST_S
        )
    except subprocess.TimeoutExpired:
        raise MatError(f"not a .mat file: not read within {_LONGEST_S:g} s") from None
    if done.returncode < 0 or not done.stdout:
        raise MatError("not a .mat file: it is damaged")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise MatError(answer["error"])
    return answer["struct"]


def _answer(path: str) -> dict:
    """Returns the struct, or the error that says why there is none."""
    import scipy.io

    try:
        content = scipy.io.loadmat(path, simplify_cells=True)
    except NotImplementedError:  # what scipy says of HDF5
        return {"error": "of MATLAB's version 7.3, which is not read; write it with save -v7"}
    except Exception as error:  # of any kind, from within
        return {"error": f"not a .mat file: {error!r}"[:200]}
    cases = {
        name: value
        for name, value in content.items()
        if isinstance(value, dict) and set(NEEDED) <= set(value)
    }
    if not cases:
        return {
            "error": f"no struct with {', '.join(NEEDED)} in it; MATPOWER's savecase writes one"
        }
    chosen = cases[_ENTRY] if _ENTRY in cases else next(iter(cases.values()))
    return {"struct": {name: _as_json(chosen[name]) for name in _FIELDS if name in chosen}}


def _as_json(value: Any) -> Any:
    """Returns a number or matrix as JSON has it; what is neither as text."""
    real = getattr(value, "real", value)
    listed = real.tolist() if hasattr(real, "tolist") else real
    try:
        json.dumps(listed)
    except (TypeError, ValueError):
        return str(listed)[:100]
    return listed


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    sys.stdout.write(json.dumps(_answer(sys.argv[1])))
