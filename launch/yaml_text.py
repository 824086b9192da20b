"""Reads YAML that says values by name, and tells on which line each stands.

Plain scalars are those of YAML 1.2's core schema: `3e-4` is a number, `no` and `12:30` are text.
What files of options have no use for is refused by its line: tags, anchors and aliases, a name
that is given twice.
"""

import re
from typing import Any

import yaml

from envs.inputs import bounds

_SCALARS = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+"),
    "float": re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
}


class _Composer(yaml.SafeLoader):
    """Composes nodes and makes no objects; refuses what is not plain data."""

    def compose_node(self, parent, index):
        """Returns the next node."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise _Refused(event.start_mark, "anchors and aliases are not read; write it out")
        if event.tag is not None:
            shown = bounds.as_text(event.tag.replace("tag:yaml.org,2002:", "!!"))
            raise _Refused(event.start_mark, f"the tag {shown} is not read; leave it out")
        return super().compose_node(parent, index)


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, mark, problem: str):
        super().__init__(problem=problem, problem_mark=mark)


def parse(text: bytes) -> tuple[Any, dict[str, int]]:
    """Returns what YAML says, and the lines of its names, by dotted path.

    Raises:
      ValueError: it is no YAML, or has what is not read; the message begins with the line.
    """
    lines: dict[str, int] = {}
    try:
        composer = _Composer(text)
        try:
            node = composer.get_single_node()
        finally:
            composer.dispose()
        return (None if node is None else _value(node, "", lines)), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        said = error.problem or error.context
        if not isinstance(error, _Refused):
            said = f"is no YAML: {said}"
        raise ValueError(f"{where}{said}") from None
    except yaml.YAMLError as error:  # of what are no characters
        raise ValueError(f"is no YAML: {error}") from None
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _value(node: yaml.Node, path: str, lines: dict[str, int]) -> Any:
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(each, f"{path}[]", lines) for each in node.value]
    entries: dict[str, Any] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused(key.start_mark, "a name must be text")
        name, line = key.value, key.start_mark.line + 1
        inner = f"{path}.{name}" if path else name
        if name in entries:
            raise _Refused(
                key.start_mark,
                f"{bounds.as_text(inner)} is given twice, first on line {lines[inner]}",
            )
        lines[inner] = line
        entries[name] = _value(value, inner, lines)
    return entries


def _scalar(node: yaml.ScalarNode) -> Any:
    text = node.value
    if node.style is not None:  # in quotes, or a block
        return text
    kind = next((kind for kind, form in _SCALARS.items() if form.fullmatch(text)), "str")
    if kind in ("int", "float") and len(text) > bounds.LONGEST:
        raise _Refused(node.start_mark, f"a number of {len(text)} digits")
    read = {
        "null": lambda text: None, "bool": lambda text: text.lower() == "true",
        "int": int, "float": float, "str": str,
    }  # fmt: skip
    return read[kind](text)
