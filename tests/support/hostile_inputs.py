"""Hostile inputs to every command, drawn from a seed: `all_inputs` yields them."""

import json
import math
import os
import random
import re

import jax

from agents import bundle as bundle_lib, networks as networks_lib
from agents.options import TeamOptions
from configs import registry
from envs import grid_env
from envs.case import case_file, fleet_file, pglib
from envs.options import EnvOptions
from evaluation import l2rpn, metrics, results
from learner import checkpoint

SEED = 20_241_122
MODULES = {
    "local": "launch.local", "evaluate": "launch.evaluate", "bench": "launch.bench",
    "sweep": "launch.sweep", "convert": "envs.case.convert",
    "place_fleet": "envs.case.place_fleet",
}  # fmt: skip
# No number of ours may be any of these; the others depend on the range that --help tells.
ABSURD = (
    "inf", "-inf", "nan", "1e308", str(2**63), str(2**64), "1" + "0" * 26, "9" * 10_000, "", "1e",
    "abc", "-1e30",
)  # fmt: skip
NUMBERS = (*ABSURD, "-1", "0", str(2**31), "0x10", "٣", " 7 ", "1_0")
VALUES = (None, "text", [], [[1]], {}, {"a": 1}, True, 10**26, -(10**26), math.nan, math.inf, 1e308)
NUMBER = r"(-?[\d.]*\d(?:e-?\d+)?)"
RANGE = re.compile(rf"(from|above|at least) {NUMBER},?(?: (to|at most|below) {NUMBER})?")


class Input:
    """What one command is run with, and what may become of it."""

    def __init__(self, kind, command, argv, names, refused=None):
        """Takes what refusals have to name, and whether it must (not) be refused, if either."""
        self.kind, self.command, self.argv, self.refused = kind, command, argv, refused
        self.names = [names] if isinstance(names, str) else names


def must_be_refused(kind, text, help_text):
    """Whether a number is outside the range that the help tells; none where it may be either."""
    if text in ABSURD:
        return True
    try:
        value = int(text, 0 if text[:2] == "0x" else 10) if kind == "int" else float(text)
    except ValueError:
        return True
    told = RANGE.findall(help_text)
    if not told:
        return None
    open_low, low, open_high, high = told[-1]  # Words before it may be of something else.
    low, high = float(low), float(high or "inf")
    inside = (low < value if open_low == "above" else low <= value) and (
        value < high if open_high == "below" else value <= high
    )
    return None if inside else True


def number_flags(servers):
    for command, server in servers.items():
        first = {"local": [], "evaluate": ["--case=case14"], "bench": ["env", "--peers=none"]}
        for name, (kind, text) in server.flags.items():
            if kind == "comma separated list of integers":
                kind = "int"
            if kind not in ("int", "float"):
                continue
            for number in NUMBERS:
                argv = [*first[command], f"--{name}={number}"]
                yield Input("flag", command, argv, f"--{name}", must_be_refused(kind, number, text))
    for number in NUMBERS:
        argv = ["env", "--peers=none", f"--batches=1,{number}"]
        yield Input("flag", "bench", argv, "--batches", number in ABSURD or None)


def assignments(rng, servers):
    fields = [
        (name.removeprefix("config.env."), *about)
        for name, about in servers["local"].flags.items() if name.startswith("config.env.")
    ]  # fmt: skip
    for name, kind, text in fields:
        for number in (
            rng.sample(NUMBERS, 4) if kind in ("int", "float") else ("", "é\n", "x" * 5000)
        ):
            refused = must_be_refused(kind, number, text) if kind in ("int", "float") else None
            argv = ["--controllers=random", f"--env={name}={number}"]
            names = ["--env", "no case named ''", "no fleet named ''"]
            yield Input("--env", "evaluate", argv, names, refused)
    for text in (
        "",
        "=",
        "=1",
        "a",
        "a=1",
        "protection=1",
        "protection.=1",
        "." * 5000,
        "x" * 5000,
    ):
        yield Input("--env", "evaluate", ["--case=case14", f"--env={text}"], "--env", True)


def listed():
    for flag, right in (("controllers", "random"), ("scenarios", "normal"), ("level", "easy")):
        wrong = ["x", "all,x", "x,all", f"{right},x", f"{right},", ",", "", " ", "ALL", "x" * 5000]
        for text in wrong:
            argv = ["--case=case14", f"--{flag}={text}"]
            yield Input("list", "evaluate", argv, f"--{flag}", True)
        for text in (right, f"{right},{right}", f" {right}"):
            argv = ["--case=case14", f"--{flag}={text}"]
            yield Input("list", "evaluate", argv, f"--{flag}", False if text == right else None)
    for flag, subject in (("cases", "env"), ("batches", "env"), ("policies", "env"),
                          ("methods", "powerflow")):  # fmt: skip
        for text in ("x", "all,x", "case14,x", ",", "1,,2", "x" * 5000):
            # A path of thousands of characters is what the system cannot look up.
            names = [f"--{flag}", "no case named", "File name too long"]
            yield Input("list", "bench", [subject, f"--{flag}={text}"], names, True)
    for text in ("a,b", "1,", ",1", "1;2", "1" * 10_000, ",".join("1" * 100), "0,1", "1,-1", "(1)"):
        flag = "--config.team.policy_layers"
        yield Input("list", "local", [f"{flag}={text}"], flag, True)


def varied():
    field = "learner.epochs"
    for number in NUMBERS:
        refused = number in ABSURD or None
        for values in (f"1,{number}", f"1..{number}", f"{number}..1000:log", f"1|{number}"):
            yield Input("--vary", "sweep", [f"--vary={field}={values}"], "--vary", refused)
        for flag in ("trials", "search_seed", "seeds"):
            argv = [f"--vary={field}=1,2", f"--{flag}={number}"]
            yield Input("--vary", "sweep", argv, [f"--{flag}", "seed="], refused)
    for text in (
        "", "=", "=1", "a", "a=1,2", "env=1,2", "env.=1", "." * 5000, "x" * 5000, "seed=1,2",
        f"{field}=1", f"{field}=1..2:", f"{field}=..", f"{field}=1..", f"{field}=1...2",
        f"{field}={','.join('1' * 5000)}", "env.case=case14,\udcff", "env.case=a|b|",
    ):  # fmt: skip
        yield Input("--vary", "sweep", [f"--vary={text}"], "--vary", True)


def arguments():
    for command in MODULES:
        right = {"bench": ["env"], "sweep": ["--vary=learner.epochs=1,2"]}.get(command, [])
        for extra in (
            ["x"], ["x", "y"], ["-x"], ["--nonsense"], ["--nonsense=1"], ["--" + "n" * 5000],
            ["--" + "n" * 100_000], ["-"], ["--=1"], ["x" * 5000], ["\udcff"], ["a\nb"], ["=", ""],
            ["--noseed=3"], ["--", "x"],
        ):  # fmt: skip
            if command == "convert" and extra[0][:1] != "-" and len(extra) == 1:
                continue  # A file, which is not there.
            yield Input("argument", command, [*right, *extra], "", True)
        for number in ("x", "nan", "9" * 26, "9" * 10_000, "-" + "9" * 26):
            refused = number in ("x", "nan") or None
            yield Input("argument", command, [*right, f"--verbosity={number}"], "", refused)
        for flag in ("--help", "--helpshort", "--helpfull", "-?", "--helpxml"):
            yield Input("help", command, [*right, flag], "", False)


def paths(folder):
    """Yields paths that are of no use, and whether they could be written as a folder."""
    (folder / "directory.m").mkdir(), (folder / "directory.json").mkdir()
    (folder / "file").write_text("text")
    for suffix in (".m", ".json"):
        (folder / f"zero{suffix}").symlink_to("/dev/zero")
        (folder / f"null{suffix}").symlink_to("/dev/null")
        (folder / f"loop{suffix}").symlink_to(folder / f"loop{suffix}")
        os.mkfifo(folder / f"pipe{suffix}")
        for name in ("directory", "zero", "null", "loop", "pipe", "missing"):
            yield str(folder / f"{name}{suffix}")
        yield f"/proc/none/x{suffix}"
        yield "x" * 5000 + suffix
        yield f"{'d/' * 2000}x{suffix}"
        yield f"\udcff\n{suffix}"
        yield f"/proc/self/mem{suffix}"
    yield from ("/dev/null", "/dev/zero", "/proc/self/mem", str(folder), str(folder / "file"), " ")


def path_inputs(folder):
    for path in paths(folder):
        yield Input(
            "path", "local", [f"--config.env.case={path}"], [path[:40], "--config.env"], True
        )
        yield Input(
            "path", "local", [f"--config.env.fleet={path}"], [path[:40], "--config.env"], True
        )
        yield Input("path", "local", [f"--config={path}"], [path[:40], "--config"], True)
        yield Input("path", "evaluate", [f"--fleet={path}"], [path[:40], "--fleet"], True)
        yield Input("path", "bench", ["powerflow", f"--cases={path}"], path[:40].strip(), True)
        yield Input("path", "bench", ["env", "--cases=case14", f"--peers={path}"], "--peers",
                    None if path[0] in "/" and "m" in path else True)  # fmt: skip
        yield Input("path", "convert", [path, "--source=me"], path[:40].strip(), True)
        yield Input("path", "evaluate", ["--compare", path, path], path[:40].strip(), True)
        yield Input("path", "evaluate", [f"--workdir={path}"], [path[:40], "--workdir"], True)
        yield Input(
            "path", "local", ["--resume", f"--workdir={path}"], [path[:40], "--workdir"], True
        )
        yield Input("path", "local", [f"--start={path}"], [path[:40], "--start"], True)
    unwritable = [
        "/proc/none", "/proc/none/x", "/dev/null", "/dev/null/x", "/sys/x", str(folder / "file"),
        str(folder / "file" / "x"), "x" * 5000, f"{folder}/{'y' * 300}", "/proc/self/fd/9/x",
        str(folder / "loop.m"),
    ]  # fmt: skip
    files = ("/dev/null", str(folder / "file"))  # are written over
    for path in unwritable:
        yield Input("write", "local", [f"--workdir={path}"], "--workdir", True)
        yield Input("write", "evaluate", ["--controllers=random", f"--out={path}"], "--out", True)
        yield Input("write", "bench", ["env", f"--json={path}"], "--json",
                    None if path in files else True)  # fmt: skip
        case = str(folder / "right.m")
        yield Input("write", "convert", [case, "--source=me", f"--out={path}"], "--out",
                    None if path in files else True)  # fmt: skip


def places(data, path=()):
    """Yields the path of every entry of JSON, leaves and branches, of lists the first."""
    if path:
        yield path
    if isinstance(data, dict):
        for name, value in data.items():
            yield from places(value, (*path, name))
    elif isinstance(data, list) and data:
        yield from places(data[0], (*path, 0))


def changed(data, path, value):
    data = json.loads(json.dumps(data))
    inner = data
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return data


def damages(rng, data):
    """Yields (bytes, whether no reader may accept them): damaged JSON."""
    text = json.dumps(data, indent=1)
    raw = text.encode()
    for _ in range(6):
        yield raw[: rng.randrange(len(raw) - 2)], True
    for _ in range(10):
        flipped = bytearray(raw)
        for _ in range(rng.randrange(1, 4)):
            flipped[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        yield bytes(flipped), None
    for depth in (500, 1000, 100_000):
        yield b"[" * depth + b"]" * depth, True
        yield b'{"a":' * depth + b"1" + b"}" * depth, True
        yield raw[:-1].rstrip(b"}]\n ") + b"," + b"[" * depth, True
    yield b"", True
    yield b"\0" * 100, True
    yield b"\xff\xfe\x00", True
    yield text.encode("cp037"), True
    yield raw + raw, True
    yield b"9" * 200_000, True
    yield b"-" + b"9" * 1_000_000, True
    yield b'"' + b"x" * 100_000 + b'"', True
    yield b"NaN", True
    yield b'{"a": 1, "a": 1}', True
    for value in (1, "text", None, True, [1], [None], [[]], {"a": {}}, {"": 0}):
        yield json.dumps(value).encode(), True


class Tree:
    """Folders that are sound but for one file."""

    def __init__(self, folder):
        self.folder, self._made = folder, 0

    def make(self, file, content, others=()):
        """Returns a new folder that holds `content` in `file`, and others besides."""
        self._made += 1
        folder = self.folder / f"t{self._made}"
        for name, data in ((file, content), *others):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
        return str(folder)


def json_inputs(rng, tree, sound):
    """Every field of every JSON file as something else, and the files damaged."""
    config = [("config.json", sound["config"])]
    evaluation = [(n, d) for n, d in sound["evaluation"].items()]
    wholes = {
        "config": ("config.json", sound["config"], "local", ["--resume", "--workdir={}"], []),
        "launches": ("launches.json", ["2024"], "local", ["--resume", "--workdir={}"], config),
        "case": ("c.json", sound["case"], "local", ["--config.env.case={}/c.json"], []),
        "fleet": ("f.json", sound["fleet"], "local", ["--config.env.fleet={}/f.json"], []),
        "status": ("status/learner.json", {"state": "running"}, "files", ["status", "{}"], []),
        "curve": ("metrics/evaluator.jsonl", {"step": 1, "evaluation/return": 1.0,
                  "evaluation/do_nothing_return": 0.0}, "files", ["curve", "{}"], []),
        "record": (sound["record"], {"return": 1.0, "cost": 2.0}, "files", ["checkpoint", "{}"],
                   sound["checkpoint"]),
    }  # fmt: skip
    for name in ("evaluation.json", "summary.json"):
        others = [pair for pair in evaluation if pair[0] != name]
        sides = ["--compare", "{}", sound["other"], "--out={}"]
        wholes[name] = (name, sound["evaluation"][name], "evaluate", sides, others)
    for name, data in sound["results"].items():
        others = [pair for pair in sound["results"].items() if pair[0] != name]
        wholes[name] = (name, data, "files", ["results", "{}"], others)
    kept = {"config": 1.0, "launches": 1.0, "record": 1.0, "case": 0.25, "fleet": 0.25}
    for kind, (file, data, command, argv, others) in wholes.items():
        strict = kind in ("config", "launches", "case", "fleet")

        def made(content, names, refused, kind=kind, file=file, command=command, argv=argv,
                 others=others):  # fmt: skip
            folder = tree.make(file, content, others)
            arguments = [argument.format(folder) for argument in argv]
            return Input(f"json {kind}", command, arguments, names, refused)

        whole = lambda path: path[-1] if isinstance(path[-1], str) else str(path[-2:][0])
        share = kept.get(kind, 0.2)
        for path in places(data):
            before = data
            for name in path:
                before = before[name]
            for value in VALUES:
                if rng.random() > share or repr(value) == repr(before):
                    continue
                same = type(value) is type(before) or (
                    isinstance(before, float) and type(value) is int
                )
                number = isinstance(value, float | int) and not isinstance(value, bool)
                # An object or a text is judged by what is in it.
                wrong = strict and (not same or (number and not abs(value) < 1e20))
                if kind in ("case", "fleet") and value is None:
                    wrong = False  # Of some columns it says that there is no limit.
                named = whole(path) if strict and kind == "config" else ""
                yield made(changed(data, path, value), named, wrong or None)
        for content, refused in damages(rng, data):
            file_name = file.rpartition("/")[2]
            lenient = kind in ("curve",) or (kind == "status" and content[:2] == b'{"')
            names = "" if kind == "record" else file_name
            yield made(content, names, (refused and not lenient) or None)


def sound_files(folder):
    """Returns by kind JSON that is sound, for damage."""
    columns = lambda names: {name: [1.0, 2.0] for name in names}
    batch = {
        "metrics": columns(metrics.METRICS), "endings": ["NONE", "NONE"],
        "l2rpn": columns(l2rpn.Cost._fields), "seconds": 1.0,
        "latency": {"p50_ms": 1.0, "p99_ms": 2.0, "decisions": 120},
    }  # fmt: skip
    bound = {
        "metrics": {"total_cost": [1.0, 1.0], "optimal_rows": [100.0, 100.0],
                    "operating_rows": [[1.0, 1.0], [1.0, 1.0]]},
        "seconds": 1.0, "seconds_per_row": 1.0,
    }  # fmt: skip
    of = lambda name, data: {f"results/normal-easy/{name}/000-001.json": data}
    rows = "scenario,level,controller,day,return\nnormal,easy,do_nothing,0,1.0\n"
    evaluation = {
        "evaluation.json": {
            "identity": {"environment": {"case": "case14"}, "seed": 0, "format": results.FORMAT,
                         "split": "test", "grid": "a", "fleet": "b"},
            "about": {"date": "today", "commit": None},
        },
        "summary.json": {"episodes": 2, "scenarios": [["normal", "easy"]],
                         "controllers": ["do_nothing"]},
        "episodes.csv": rows.encode(),
    }  # fmt: skip
    other = folder / "other"
    other.mkdir()
    for name, data in evaluation.items():
        (other / name).write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    env = grid_env.make(EnvOptions())
    nets = networks_lib.make(env.layout, TeamOptions(policy_layers=(4,), value_layers=(4,)))
    saved = folder / "saved"
    checkpoint.Checkpoints(saved, "best").save(
        3, bundle_lib.initial(nets, jax.random.PRNGKey(0)), {"return": 1.0, "cost": 2.0}, wait=True
    )
    files = {str(p.relative_to(saved)): p.read_bytes() for p in saved.rglob("*") if p.is_file()}
    (record,) = [name for name, data in files.items() if data[:10] == b'{"return":']
    files.pop(record)
    return {
        "config": json.loads(registry.to_json(registry.load("case14_ppo"))),
        "case": json.loads((case_file.SHIPPED / "case14.json").read_text()),
        "fleet": json.loads((fleet_file.SHIPPED / "case14.json").read_text()),
        "results": {**of("do_nothing", batch), **of("untripped", batch), **of("bound", bound)},
        "evaluation": evaluation, "other": str(other), "record": record,
        "checkpoint": list(files.items()),
    }  # fmt: skip


def all_inputs(folder, servers):
    rng = random.Random(SEED)
    (folder / "right.m").write_bytes((pglib.folder() / pglib.FILES["case14"]).read_bytes())
    (folder / "trees").mkdir()
    yield from number_flags({name: servers[name] for name in ("local", "evaluate", "bench")})
    yield from assignments(rng, servers)
    yield from listed()
    yield from varied()
    yield from arguments()
    yield from path_inputs(folder)
    yield from json_inputs(rng, Tree(folder / "trees"), sound_files(folder))
