"""Reads PSS/E RAW, CIM (CGMES), UCTE, IEEE-CDF, PowerFactory and IIDM files by pypowsybl.

pypowsybl (LF Energy, MPL-2.0) reads a file into its own model of a network, finds the bus-branch
view of it, and writes that as MATPOWER's struct, which `matpower_struct` reads. What the struct has
no column for, or has otherwise, `powsybl_shunts`, `powsybl_links` and `powsybl_ratings` take from
pypowsybl's tables.
"""

import contextlib
import logging
import os
import pathlib
import sys
import tempfile
import zipfile
from collections.abc import Iterator

from envs.case import (
    conversion,
    matpower_struct,
    pandapower_file,
    powsybl_links,
    powsybl_ratings,
    powsybl_shunts,
    psse_raw,
    validate,
)
from envs.case.conversion import Conversion, Notes

# How pypowsybl tells formats apart, in lower case.
SUFFIXES = {
    ".raw": "PSS/E", ".rawx": "PSS/E", ".zip": "CIM, CGMES", ".xml": "CIM, CGMES or IIDM",
    ".uct": "UCTE", ".txt": "IEEE-CDF", ".dgs": "PowerFactory", ".xiidm": "IIDM", ".iidm": "IIDM",
    ".jiidm": "IIDM", ".biidm": "IIDM",
}  # fmt: skip
_RAW = ".raw"
_CGMES = "*.xml"  # profiles of one grid in a folder: EQ, TP, SSH, SV, and boundaries
_LONGEST_WORD = 2000  # characters
_STDERR = 2
_LARGEST_UNZIPPED = 10  # times the limit of a file
_EXPORT = {
    "matpower.export.with-bus-names": "true",
    "matpower.export.max-generator-active-power-limit": "1e6",
    "matpower.export.max-generator-reactive-power-limit": "1e6",
}


def is_folder(path: pathlib.Path) -> bool:
    """Returns whether `path` is a folder of CGMES profiles."""
    return path.is_dir() and any(path.glob(_CGMES))


def read(path: str | pathlib.Path) -> Conversion:
    """Returns the grid in a file of `SUFFIXES`, or in a folder of CGMES profiles, and what changed.

    Raises:
      FileNotFoundError: there is no such file.
      validate.CaseError: pypowsybl is not installed, or the file is no usable case.
    """
    path = pathlib.Path(path)
    if not is_folder(path):
        pandapower_file.check_size(path)
        _check_contents(path, path)
        if path.suffix.lower() == _RAW:
            psse_raw.check_end(path)
        return _read(path, path)
    with tempfile.TemporaryDirectory() as folder:
        archive = pathlib.Path(folder) / f"{path.resolve().name}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for profile in sorted(path.glob(_CGMES)):
                file.write(profile, profile.name)
        pandapower_file.check_size(archive)
        _check_contents(archive, path)
        return _read(archive, path)


def _read(file: pathlib.Path, path: pathlib.Path) -> Conversion:
    """Returns the grid of `file`, which messages call `path`."""
    powsybl = _required(path)
    try:
        with _silent():
            network = powsybl.network.load(os.fspath(file.absolute()))
    except Exception as error:  # of any kind, from within
        why = " ".join(str(error).split())[:200] or repr(error)
        raise validate.CaseError(f"{path}: pypowsybl cannot read it: {why}") from error
    notes = Notes()
    try:
        struct = _struct(network)
        powsybl_shunts.add(network, struct, notes)
        powsybl_links.fix(network, struct, notes)
        powsybl_ratings.replace(network, struct)
        if path.suffix.lower() == _RAW:
            psse_raw.restore(path, struct, notes)
    except Exception as error:
        why = " ".join(str(error).split())[:200] or repr(error)
        raise validate.CaseError(
            f"{path}: pypowsybl finds no grid of buses and branches in it: {why}"
        ) from error
    result = matpower_struct.convert(struct, path.stem, str(path))
    return conversion.Conversion(result.grid, (*notes, *result.notes))


def _struct(network) -> dict:
    """Returns the bus-branch view of the main component, as MATPOWER's struct."""
    import scipy.io

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "grid.mat"
        network.save(str(path), format="MATPOWER", parameters=_EXPORT)
        return scipy.io.loadmat(str(path), simplify_cells=True)["mpc"]


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """A context in which nothing is written to standard error.

    Java's parser of XML writes there what is in the error that pypowsybl raises too.
    """
    sys.stderr.flush()
    kept = os.dup(_STDERR)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)


def _required(path: pathlib.Path):
    """Returns the module pypowsybl; raises CaseError where it is not installed."""
    logging.getLogger("powsybl").setLevel(logging.CRITICAL)  # what is wrong is in the error
    logging.getLogger("pypowsybl").setLevel(logging.CRITICAL)
    logging.getLogger("pandapower").setLevel(logging.ERROR)  # pypowsybl imports it where it is
    try:
        with pandapower_file.Quiet():
            import pypowsybl
    except ImportError as error:
        raise validate.CaseError(
            f"{path}: {SUFFIXES.get(path.suffix.lower(), 'CIM, CGMES')} is read by pypowsybl, "
            "which is not installed: make install-formats, or pip install pypowsybl"
        ) from error
    return pypowsybl


def _check_contents(file: pathlib.Path, path: pathlib.Path) -> None:
    """Raises CaseError where a .zip is none, would unpack into too much, or CIM has endless words.

    Messages call `file` `path`. pypowsybl takes a time that grows with the square of the length of
    an identifier of CIM: more than a minute for 20,000 characters.
    """
    if file.suffix.lower() == ".xml":
        _check_words(file.read_bytes(), str(path))
    if file.suffix.lower() != ".zip":
        return
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(each.file_size for each in archive.infolist()) / 1e6
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise validate.CaseError(f"{path}: not a .zip file: {error}") from error
    limit = _LARGEST_UNZIPPED * pandapower_file.LARGEST_MB
    if size > limit:
        raise validate.CaseError(
            f"{path}: unpacks into {size:,.0f} MB; case files may have {limit:,.0f} MB"
        )
    try:
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                _check_words(archive.read(name), f"{path}: {name[:80]}")
    except validate.CaseError:
        raise
    except Exception as error:  # of any kind, from damaged or encrypted members
        raise validate.CaseError(f"{path}: cannot be unpacked: {error!r}"[:300]) from error


def _check_words(text: bytes, whose: str) -> None:
    """Raises CaseError where a word is longer than any name is."""
    words = text.replace(b"<", b" ").replace(b">", b" ").split()
    longest = max(map(len, words), default=0)
    if longest > _LONGEST_WORD:
        raise validate.CaseError(
            f"{whose} has a word of {longest:,} characters, names may have {_LONGEST_WORD:,}"
        )
