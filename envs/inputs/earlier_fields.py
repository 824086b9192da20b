"""Fields as earlier versions wrote them: under other names, or where there are constants now."""

from collections.abc import Mapping
from typing import Any

from envs.inputs import bounds


def updated(
    values: Any, path: str, constants: Mapping[str, Any], renamed: Mapping[str, str] | None = None
) -> Any:
    """Returns what JSON says at `path`, with the names and fields of this version.

    Args:
      values: what JSON says; what is no object is returned as it is.
      path: where it stands, as in "env."; empty for the whole.
      constants: by path, the value that fields of earlier versions have in every run now.
      renamed: by path, the path that fields of earlier versions have now, in the same group.

    Raises:
      ValueError: a field that is a constant now has another value, or one is given under both of
        its names; the message names it.
    """
    if not isinstance(values, Mapping):
        return values
    fields: dict[str, Any] = {}
    for name, value in values.items():
        field = path + name
        if field in constants:
            if value != constants[field]:
                raise ValueError(
                    f"{field}={bounds.as_text(value)}: this version has no such field, it is "
                    f"always {bounds.as_text(constants[field])}; use the version that wrote it"
                )
            continue
        name = (renamed or {}).get(field, field).removeprefix(path)
        if name in fields:
            raise ValueError(f"{path}{name}: is given twice, as {field} too")
        fields[name] = updated(value, f"{field}.", constants, renamed)
    return fields
