"""Damaged files of other programs: each is read as a sound grid or refused by name, and soon."""

import collections
import io
import time
import zipfile

import numpy as np
import pandapower
import pytest
import scipy.io
from matpowercaseframes import CaseFrames
from pandapower import networks
from support import mutations

from envs.case import case_file, grid as grid_lib, pglib, validate

SEED = 20261124
QUICK, SLOW = 40, 500  # files of each format
SLOWEST_S = 20.0  # on a machine that others share; the usual file takes a tenth of a second


def _pandapower(folder):
    """Returns a network with switches, three windings, extended wards, costs."""
    net = networks.example_multivoltage()
    pandapower.create_poly_cost(net, 0, "ext_grid", cp1_eur_per_mw=30.0)
    pandapower.to_json(net, str(folder / "sound.json"))
    return (folder / "sound.json").read_text()


def _mat(folder):
    frames = CaseFrames(str(pglib.folder() / pglib.FILES["case30"]))
    tables = {
        name: getattr(frames, name).to_numpy() for name in ("bus", "branch", "gen", "gencost")
    }
    struct = {"version": "2", "baseMVA": frames.baseMVA, **tables}
    scipy.io.savemat(folder / "sound.mat", {"mpc": struct})
    return (folder / "sound.mat").read_bytes()


def _powsybl(format_, suffix):
    def write(folder):
        powsybl = pytest.importorskip("pypowsybl", reason="make install-formats installs it")
        path = folder / f"sound{suffix}"
        powsybl.network.create_ieee14().save(str(path), format=format_)
        return path.read_bytes() if suffix == ".zip" else path.read_text()

    return write


SOUND = {
    ".json": _pandapower, ".mat": _mat, ".raw": _powsybl("PSS/E", ".raw"),
    ".xiidm": _powsybl("XIIDM", ".xiidm"), ".zip": _powsybl("CGMES", ".zip"),
}  # fmt: skip


def _bytes_damaged(rng, data):
    """Returns `data` with bytes changed, lost or put in, or a part of it gone."""
    data, kind = bytearray(data), rng.integers(5)
    at = int(rng.integers(len(data)))
    if kind == 0:
        for place in rng.integers(len(data), size=int(rng.integers(1, 20))):
            data[place] = int(rng.integers(256))
    elif kind == 1:
        del data[at : at + int(rng.integers(1, 300))]
    elif kind == 2:
        data[at:at] = rng.bytes(int(rng.integers(1, 300)))
    elif kind == 3:
        del data[at:]
    else:
        data[at : at + 8] = np.array([rng.choice([np.nan, np.inf, -1.0, 1e300, 0.0])]).tobytes()
    return bytes(data)


def _damaged(rng, suffix, sound, number):
    """Returns a damaged file: its text by a mutation in turn, or its bytes."""
    if suffix == ".zip":  # half of them inside
        if number % 2:
            return _bytes_damaged(rng, sound)
        with zipfile.ZipFile(io.BytesIO(sound)) as archive:
            profiles = {name: archive.read(name) for name in archive.namelist()}
        chosen = list(profiles)[int(rng.integers(len(profiles)))]
        profiles[chosen] = _damaged(rng, ".xml", profiles[chosen].decode(), number // 2)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in profiles.items():
                archive.writestr(name, data)
        return buffer.getvalue()
    if isinstance(sound, bytes):
        return _bytes_damaged(rng, sound)
    chosen = [m for m in mutations.MUTATIONS if m not in (mutations.table_renamed,)]
    damaged = chosen[number % len(chosen)](rng, sound)
    return damaged if isinstance(damaged, bytes) else damaged.encode()


def _outcomes(folder, suffix, count):
    """Returns how many of `count` damaged files were read and how many refused."""
    rng, kinds, slowest = np.random.default_rng(SEED), collections.Counter(), 0.0
    sound = SOUND[suffix](folder)
    for number in range(count):
        path = folder / f"{number}{suffix}"
        path.write_bytes(_damaged(rng, suffix, sound, number))
        start = time.perf_counter()
        try:
            grid = case_file.read(path).grid
        except validate.CaseError as error:  # any other exception ends the test
            message = str(error)
            assert message.startswith(f"{path}: "), message
            assert "\n" not in message and len(message) < 1000, message
            kinds["refused"] += 1
        else:
            assert isinstance(grid, grid_lib.Grid)
            assert validate.check(grid, str(path)) is grid
            kinds["read"] += 1
        slowest = max(slowest, time.perf_counter() - start)
        path.unlink()
    print(f"{suffix}: {dict(kinds)}, the slowest took {slowest:.1f} s")
    assert slowest < SLOWEST_S
    return kinds


@pytest.mark.parametrize("suffix", SOUND)
def test_damaged_files_are_read_or_refused_by_name(tmp_path, suffix):
    kinds = _outcomes(tmp_path, suffix, QUICK)
    assert kinds["refused"] >= QUICK // 4 and sum(kinds.values()) == QUICK


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SOUND)
def test_hundreds_of_damaged_files_are_read_or_refused_by_name(tmp_path, suffix):
    kinds = _outcomes(tmp_path, suffix, SLOW)
    assert kinds["refused"] >= SLOW // 4 and kinds["read"] >= SLOW // 20, kinds
