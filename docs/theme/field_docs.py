"""A Griffe extension: fields of records are told in a list, with what the source says about them.

Fields of options are declared `Annotated[float, "its help", Range(0, 1)]`; of other records a
comment stands beside the field or above it. The docstring of the class gets a section with all of
them, inherited ones too. What is not in the class's own words stays out of the navigation.
"""

import io
import re
import tokenize

import griffe

_RANGE = re.compile(r"^\w*\.?(Range\(.*\)|SEEDS)$")


class FieldDocs(griffe.Extension):
    """Documents the fields of classes."""

    def __init__(self):
        super().__init__()
        self._said: dict[str, str] = {}  # by the path of the field

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs) -> None:
        """Keeps what is said about `attr`, and leaves the bare type as its annotation."""
        field = isinstance(attr.parent, griffe.Class) and attr.annotation is not None
        if field and "property" not in attr.labels:  # which have docstrings
            self._said[attr.path] = _annotated(attr) or _commented(attr)

    def on_package(self, *, pkg: griffe.Module, **kwargs) -> None:
        """Moves the fields of all classes of `pkg` into the classes' docstrings."""
        classes = list(_classes(pkg))
        fields = {cls.path: self._fields(cls) for cls in classes}
        for cls in classes:
            if lines := [self._line(attr) for attr in fields[cls.path].values()]:
                own = cls.docstring.value if cls.docstring else ""
                text = f"{own}\n\nAttributes:\n" + "\n".join(f"    {line}" for line in lines)
                cls.docstring = griffe.Docstring(
                    text.lstrip(), lineno=cls.lineno, parent=cls, parser="google"
                )
        for cls in classes:
            for name in [name for name in cls.members if f"{cls.path}.{name}" in self._said]:
                cls.del_member(name)

    def _fields(self, cls: griffe.Class) -> dict[str, griffe.Attribute]:
        """Returns the public fields of `cls` by name, those of its bases first."""
        found = {}
        for owner in [*reversed(cls.mro()), cls]:
            for name, member in owner.members.items():
                if f"{owner.path}.{name}" in self._said and not name.startswith("_"):
                    found[name] = member
        return found

    def _line(self, attr: griffe.Attribute) -> str:
        said = self._said[attr.path]
        default = f" Default: `{attr.value}`." if attr.value is not None else ""
        stop = "." if default and said and not said.endswith(".") else ""
        return f"{attr.name} ({attr.annotation}): {said}{stop}{default}".rstrip()


def _classes(parent: griffe.Module | griffe.Class):
    for member in parent.members.values():
        if member.is_alias:
            continue
        if member.is_class:
            yield member
        if member.is_class or member.is_module:
            yield from _classes(member)


def _annotated(attr: griffe.Attribute) -> str:
    """Returns the help of `Annotated[…]` with its range; the type remains as annotation."""
    parts, ranges = [], []
    while (elements := _elements(attr)) is not None:
        attr.annotation, *metadata = elements
        for element in map(str, metadata):
            if said := _RANGE.match(element):
                ranges.append(f"`{said[1]}`")
            else:
                parts.append("".join(re.findall(r"""["'](.*?)["'](?=\s*["']|$)""", element)))
    return ", ".join([*parts, *ranges])


def _elements(attr: griffe.Attribute) -> list | None:
    """Returns what stands in the brackets of `Annotated`, of an alias of the module too."""
    expression = attr.annotation
    if isinstance(expression, griffe.ExprName) and expression.name in attr.module.members:
        alias = attr.module.members[expression.name]
        if isinstance(alias, griffe.Attribute):  # and no import
            expression = alias.value
    if not isinstance(expression, griffe.ExprSubscript) or str(expression.left) != "Annotated":
        return None
    return list(expression.slice.elements)


def _commented(attr: griffe.Attribute) -> str:
    """Returns the comment on the field's last line, or in the lines directly above it."""
    lines = attr.lines_collection[attr.filepath]
    beside = _comment(lines[attr.endlineno - 1])
    if beside:
        return beside
    above = []
    for line in reversed(lines[: attr.lineno - 1]):
        if not line.strip().startswith("#"):
            break
        above.insert(0, line.strip().lstrip("# "))
    return " ".join(above)


def _comment(line: str) -> str:
    """Returns the comment of a line of Python, which may be the end of a longer statement."""
    try:
        for token in tokenize.generate_tokens(io.StringIO(line.strip()).readline):
            if token.type == tokenize.COMMENT:
                return token.string.lstrip("# ")
    except (tokenize.TokenError, IndentationError):  # brackets of the lines before
        return ""
    return ""
