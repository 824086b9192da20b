"""Tables kept in JSON, one list per column: reading them with errors that name table and row."""

import json
import pathlib

import numpy as np

from envs.inputs import choices, json_file

_LARGEST_WHOLE = 2**31 - 1


class Reader:
    """Takes apart one JSON file; whatever is wrong is raised as `error`, naming the file.

    Args:
      path: the file.
      kind: what the file should be, for the message: "Gridracer case file".
      error: the exception class to raise.

    Raises:
      FileNotFoundError: there is no such file.
      error: the file is not JSON, or its outermost value is not an object.
    """

    def __init__(self, path: pathlib.Path, kind: str, error: type[ValueError]):
        self.path, self.kind, self.error = path, kind, error
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            self.data = json_file.contents(path)
        except ValueError as cause:  # Neither UTF-8 nor JSON.
            raise self.wrong(str(cause)) from cause
        if not isinstance(self.data, dict):
            raise self.wrong("it holds no object")

    def wrong(self, why: str) -> ValueError:
        """Returns the error that says why the file as a whole cannot be used."""
        return self.error(f"{self.path}: not a {self.kind}: {why}")

    def refuse(self, table: str, row: int | None, why: str) -> ValueError:
        """Returns the error that names `table` and, unless it is None, `row`, counted from 0."""
        where = f"table {table}" + ("" if row is None else f", row {row + 1}")
        return self.error(f"{self.path}: {where}: {why}")

    def text(self, name: str, default: str | None = None) -> str:
        """Returns the text kept as `name`."""
        value = self.data.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(f"{name} is {_as_text(value)}, it must be text")
        return value

    def number(self, name: str) -> float:
        """Returns the number kept as `name`."""
        value = self.data.get(name)
        if rule := _broken_rule(value):
            raise self.wrong(f"{name} is {_as_text(value)}, it must be {rule}")
        return float(value)

    def table(self, name: str, columns: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict:
        """Returns the columns of table `name` as lists of one length, those present."""
        table = self.data.get(name)
        if not isinstance(table, dict):
            raise self.wrong(f"there is no table {name} (it is {_as_text(table)})")
        self.known(name, table, (*columns, *optional))
        for column in columns:
            if column not in table:
                raise self.refuse(name, None, f"the column {column} is missing")
        for column, values in table.items():
            if not isinstance(values, list):
                raise self.refuse(name, None, f"{column} is {_as_text(values)}, it must be a list")
        lengths = {column: len(values) for column, values in table.items()}
        if len(set(lengths.values())) > 1:
            raise self.refuse(name, None, f"columns differ in length: {lengths}")
        return table

    def known(self, table: str | None, names, allowed: tuple[str, ...]) -> None:
        """Raises if one of `names` is not allowed, suggesting what may have been meant."""
        for name in names:
            if name not in allowed:
                hint = choices.hint(name, allowed).strip() or f"there may be {', '.join(allowed)}"
                where = "" if table is None else f"table {table}: "
                raise self.error(f"{self.path}: {where}{name} is not known here; {hint}")

    def numbers(
        self, table: str, name: str, values: list, *, whole: bool = False, null: float | None = None
    ) -> np.ndarray:
        """Returns a column as an array, int32 if `whole`, else float.

        JSON's null stands for `null`, and by default is refused.
        """
        column = []
        for row, value in enumerate(values):
            if value is None and null is not None:
                value = null
            elif rule := _broken_rule(value, whole):
                raise self.refuse(table, row, f"{name} is {_as_text(value)}, it must be {rule}")
            column.append(value)
        return np.array(column, np.int32 if whole else float)

    def choices(self, table: str, name: str, values: list, allowed: tuple[str, ...]) -> np.ndarray:
        """Returns a column of texts, each one of `allowed`."""
        for row, value in enumerate(values):
            if value not in allowed:
                hint = choices.hint(str(value), allowed).strip()
                hint = hint or f"it may be {', '.join(allowed)}"
                raise self.refuse(table, row, f"{name} is {_as_text(value)}; {hint}")
        return np.array(values, f"<U{max(map(len, allowed))}")


def write(data: dict, path: pathlib.Path) -> None:
    """Writes tables and single values as one JSON object, a column per line to show in a diff.

    Arrays read back exactly; what is not finite in them becomes null.
    """

    def as_json(value, indent):
        if isinstance(value, dict):
            inner = indent + "  "
            lines = (f'{inner}"{name}": {as_json(each, inner)}' for name, each in value.items())
            return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
        if isinstance(value, np.ndarray):
            value = [_short(each) for each in value.tolist()]
        return json.dumps(value)

    path.write_text(as_json(data, "") + "\n")


def _short(value):
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        if value.is_integer() and abs(value) < 2**53 and str(value) != "-0.0":
            return int(value)
    return value


def _broken_rule(value, whole: bool = False) -> str:
    """Returns what a value from JSON must be and is not, or nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "a number"
    if whole and not (abs(value) <= _LARGEST_WHOLE and float(value).is_integer()):
        return "a whole number below 2^31"
    return "" if abs(value) <= np.finfo(float).max else "finite"


def _as_text(value) -> str:
    """Returns a value as a message has it."""
    try:
        text = json.dumps(value)
    except ValueError:  # A whole number of thousands of digits.
        text = "a number too long to show"
    return text if len(text) <= 60 else text[:57] + "…"
