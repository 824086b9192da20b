"""Ways to damage a text file: functions of a random generator and the text."""

import re

VALUES = (
    "NaN", "Inf", "-Inf", "0", "-0.0", "-1", "1", "0.5", "2.5", "1e300", "-1e300", "1e-300", "1e9",
    "99999", "9" * 400, "abc", "", "1.2.3", "0x10", "1e", "--1", "1/0", "null", "true", "[1]", "{}",
    "'1'", "'", "%", "é", "\x00", "1,5", ";", "[", "]", "NULL", "(2)", "pi", "+3", "٣",
)  # fmt: skip


def _numbers(text):
    """Returns the spans of the numbers of the data, comments left out."""
    actual = re.finditer(r"%[^\n]*|-?\b\d[\d.eE+-]*", text)
    return [match.span() for match in actual if match.group()[0] != "%"]


def _pick(rng, items):
    return items[int(rng.integers(len(items)))]


def value(rng, text):
    start, end = _pick(rng, _numbers(text))
    return text[:start] + _pick(rng, VALUES) + text[end:]


def scaled(rng, text):
    start, end = _pick(rng, _numbers(text))
    try:
        number = float(text[start:end])
    except ValueError:
        return text[:start] + text[end:]
    number *= _pick(rng, (-1, 0.5, 1.01, 2, 10, 1e3, 1e-6, 1e12))
    return f"{text[:start]}{number!r}{text[end:]}"


def exchanged(rng, text):
    spans = _numbers(text)
    (a, b), (c, d) = sorted(spans[i] for i in rng.choice(len(spans), 2, replace=False))
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


def several_values(rng, text):
    for _ in range(int(rng.integers(2, 6))):
        text = _pick(rng, (value, scaled, exchanged))(rng, text)
    return text


def _lines(change):
    def mutation(rng, text):
        lines = text.splitlines(keepends=True)
        change(rng, lines, int(rng.integers(len(lines))))
        return "".join(lines)

    mutation.__name__ = change.__name__
    return mutation


@_lines
def line_deleted(rng, lines, at):
    del lines[at]


@_lines
def lines_deleted(rng, lines, at):
    del lines[at : at + int(rng.integers(2, 30))]


@_lines
def line_doubled(rng, lines, at):
    lines.insert(at, lines[at])


@_lines
def line_moved(rng, lines, at):
    lines.insert(int(rng.integers(len(lines))), lines.pop(at))


@_lines
def lines_shuffled(rng, lines, at):
    part = lines[at : at + 10]
    lines[at : at + 10] = [part[i] for i in rng.permutation(len(part))]


@_lines
def line_joined(rng, lines, at):
    lines[at] = lines[at].rstrip("\n")


@_lines
def line_half(rng, lines, at):
    lines[at] = lines[at][: len(lines[at]) // 2] + "\n"


@_lines
def line_commented(rng, lines, at):
    lines[at] = "%" + lines[at]


STATEMENTS = (
    "mpc.bus(1, 3) = 5;", "mpc.gen = [];", "mpc.baseMVA = 1;", "mpc.branch = x;", "mpc = 1;",
    "mpc.dcline = [1 2 1];",
)  # fmt: skip


@_lines
def line_assigned(rng, lines, at):
    lines.insert(at, _pick(rng, STATEMENTS) + "\n")


def column_dropped(rng, text):
    lines = text.splitlines(keepends=True)
    column = int(rng.integers(13))
    opened = _pick(rng, [i for i, line in enumerate(lines) if line.rstrip().endswith("[")] or [0])
    for index in range(opened + 1, len(lines)):
        words = lines[index].split("\t")
        if lines[index].startswith("]") or len(words) <= column:
            break
        lines[index] = "\t".join(words[:column] + words[column + 1 :])
    return "".join(lines)


TABLES = (
    "mpc.bus", "mpc.gen", "mpc.gencost", "mpc.branch", "mpc.baseMVA", "mpc.version",
    '"bus"', '"gen"', '"branch"', '"base_mva"', '"source"',
)  # fmt: skip


def table_renamed(rng, text):
    name = _pick(rng, [name for name in TABLES if name in text])
    return text.replace(name, name[:-2] + name[-1], 1)


def table_dropped(rng, text):
    start = _pick(rng, [i for i in range(len(text)) if text[i] in "[{"] or [0])
    end = max(text.find("]", start), text.find("}", start))
    return text[:start] + text[end + 1 :]


def truncated(rng, text):
    return text[: int(rng.integers(len(text)))]


def beheaded(rng, text):
    return text[int(rng.integers(len(text))) :]


def bracket_lost(rng, text):
    at = _pick(rng, [i for i in range(len(text)) if text[i] in "[]{}();:,'\""] or [0])
    return text[:at] + text[at + 1 :]


def bracket_added(rng, text):
    at = int(rng.integers(len(text)))
    return text[:at] + _pick(rng, "[]{}();:,'\"%=") * int(rng.integers(1, 4)) + text[at:]


def signs_flipped(rng, text):
    at = int(rng.integers(len(text)))
    return (
        text[:at]
        + text[at : at + 400].replace("\t ", "\t-").replace(", ", ", -")
        + text[at + 400 :]
    )


def bytes_flipped(rng, text):
    data = bytearray(text.encode())
    for at in rng.integers(len(data), size=int(rng.integers(1, 8))):
        data[at] = int(rng.integers(256))
    return bytes(data)


def garbage(rng, text):
    size = int(rng.integers(2000))
    if rng.random() < 0.5:
        return rng.bytes(size)
    at = int(rng.integers(len(text)))
    return text[:at].encode() + rng.bytes(size) + text[at:].encode()


def encoded(rng, text):
    return text.encode(_pick(rng, ("utf-16", "utf-8-sig", "utf-32", "utf-7", "cp037")))


def nested(rng, text):
    start, end = _pick(rng, _numbers(text))
    depth = int(rng.integers(1, 20_000))
    return text[:start] + "[" * depth + text[start:end] + "]" * depth + text[end:]


def harmless(rng, text):
    return _pick(rng, (text + "\n\n", text.replace("\n", "\r\n"), text.replace("  ", "    ")))


MUTATIONS = (
    value, value, value, value, scaled, scaled, scaled, scaled, exchanged, exchanged,
    several_values, line_deleted, lines_deleted, line_doubled, line_moved, line_moved,
    lines_shuffled, line_joined, line_half, line_commented, line_assigned, column_dropped,
    table_renamed, table_dropped, truncated, beheaded, bracket_lost, bracket_added, signs_flipped,
    bytes_flipped, garbage, encoded, nested, harmless,
)  # fmt: skip
