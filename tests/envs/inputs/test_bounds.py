"""Every number has a range, told beside its help, and whatever is outside is refused in a line."""

import dataclasses
import json
import math
import re
import subprocess
import sys
import typing

import pytest

from configs import registry
from configs.experiment import Experiment
from envs.inputs import bounds, command_line, json_file
from evaluation import results
from launch import option_fields
from launch.run import run_folder

FIELDS = {path: (kind, text) for path, kind, text, _ in option_fields.fields(Experiment)}
COMMANDS = (
    "launch.local",
    "launch.evaluate",
    "launch.bench",
    "envs.case.convert",
    "envs.case.place_fleet",
)
NUMBERS = [path for path, (kind, _) in FIELDS.items() if kind in (int, float)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e30, 10**26, 2**63])
def test_no_number_of_an_experiment_takes_what_is_not_finite_or_far_too_large(value):
    experiment = registry.load("case14_ppo")
    for path in NUMBERS:
        with pytest.raises(ValueError, match=f"{re.escape(path)}=.*: must be a") as refused:
            option_fields.replaced(experiment, {path: value})
        assert len(str(refused.value)) < 150


@pytest.mark.parametrize("path", NUMBERS)
def test_the_help_of_a_number_tells_its_range(path):
    assert re.search(
        r"(from|above|at least) -?[\d.e]+,? (to|at most|below) [\d.e]+$", FIELDS[path][1]
    )


def test_ends_of_a_range_are_in_it_where_it_says_so():
    assert str(bounds.Range(0, 1e9)) == "from 0 to 1e9"
    assert str(bounds.Range(1, 2**20)) == "from 1 to 1048576"
    half = bounds.Range(0, 1, above=True)
    assert str(half) == "above 0, at most 1" and half.contains(1) and not half.contains(0)
    open_ = bounds.Range(0, 1, below=True)
    assert str(open_) == "at least 0, below 1" and open_.contains(0) and not open_.contains(1)
    assert not bounds.Range(-math.inf, math.inf).contains(math.nan)


# Of text that names something, these do not wait until a run begins.
CHECKED_AT_ONCE = (
    "env.curriculum", "learner.correction", "learner.limits", "learner.objective",
    "team.activation", "team.encoder", "team.microgrid_control", "team.node_parameters",
)  # fmt: skip


@pytest.mark.parametrize(
    "wrong, taken_by",
    [
        (None, None), ("text", str), ([], None), ([1, 2], tuple[int, ...]), ({}, None),
        (True, bool), (math.nan, None), ("\ud800", None), (10**26, None), ([True], None),
    ],
)  # fmt: skip
def test_every_field_of_a_configuration_refuses_another_type(wrong, taken_by):
    text = registry.to_json(registry.load("case14_ppo"))
    for path, (kind, _) in FIELDS.items():
        values = json.loads(text)
        *groups, name = path.split(".")
        inner = values
        for group in groups:
            inner = inner[group]
        inner[name] = wrong
        if kind == taken_by and path not in CHECKED_AT_ONCE:
            registry.build(values)
            continue
        with pytest.raises(ValueError, match=re.escape(path)) as refused:
            registry.build(values)
        assert "\n" not in str(refused.value) and len(str(refused.value)) < 250


@pytest.mark.parametrize(
    "content, message",
    [
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"", "Expecting value"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"9" * 1_000_000, "a number of 1000000 digits"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b"null", "it=null: must be a list"),
        (b"[1]", "[0]=1: must be text"),
        (b'"' + b"x" * 10_000 + b'"', "must be a list"),
    ],
)
def test_a_damaged_file_of_a_run_is_named_and_nothing_is_begun(tmp_path, content, message):
    folder = run_folder.RunFolder(tmp_path)
    folder.create(registry.load("case14_ppo"))
    (tmp_path / "launches.json").write_bytes(content)
    (tmp_path / "status" / "learner.json").write_text("{}")
    with pytest.raises(json_file.JsonError, match=re.escape(message)) as refused:
        folder.begin_again(registry.load("case14_ppo"))
    assert str(refused.value).startswith(f"{tmp_path}/launches.json: ")
    assert len(str(refused.value)) < 300 and (tmp_path / "status" / "learner.json").exists()
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(run_folder.RunFolderError, match=r"config.json: cannot be read: "):
        folder.experiment()


def test_a_device_or_a_folder_is_no_json(tmp_path):
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for path in (tmp_path, tmp_path / "zero.json"):
        with pytest.raises(json_file.JsonError, match="no regular file"):
            json_file.read(path, dict)


def test_a_typed_dictionary_names_what_is_missing_or_wrong_inside():
    record = typing.TypedDict("record", {"return": float, "of": list[dict[str, int]]})
    bounds.accept("", {"return": 1, "of": [{"a": 1}], "more": "text"}, record)
    for value, message in (
        ({"of": []}, "return: missing"),
        ({"return": "1", "of": []}, "return='1': must be a number"),
        ({"return": 1.0, "of": [{"a": 1.5}]}, "of[0].a=1.5: must be a whole number"),
        ([], "it=[]: must be an object"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            bounds.accept("", value, record)


def test_every_option_is_a_type_that_is_checked():
    for kind, _ in FIELDS.values():
        assert kind in (int, float, bool, str, tuple[int, ...])
    assert {f.name for f in dataclasses.fields(Experiment)} >= {"seed", "env", "run"}


@pytest.mark.parametrize("text", ["inf", "nan", "1e308", "9" * 100_000, "", "1e", "0", "2.5", "1_"])
def test_the_text_of_a_number_is_refused_at_once(text):
    parser = command_line.NumberParser(int, bounds.Range(1, 100_000))
    with pytest.raises(ValueError, match="^must be a whole number from 1 to 100000$"):
        parser.parse(text)
    assert parser.parse("0x10") == 16 and parser.parse("100000") == 100_000


@pytest.mark.parametrize("place", ["/proc/none", "/dev/null/x", "file/x"])
def test_a_folder_that_cannot_be_written_is_named_with_its_flag(tmp_path, place):
    (tmp_path / "file").write_text("")
    path = tmp_path / place  # An absolute place stays as it is.
    with pytest.raises(results.FolderError, match=f"--out={path}: cannot be written"):
        results.Folder(path).hold()


@pytest.mark.parametrize("command", COMMANDS)
def test_an_argument_too_many_is_a_line_and_help_is_no_failure(command, tmp_path):
    run = lambda *flags: subprocess.run(
        [sys.executable, "-m", command, *flags], capture_output=True, text=True, check=False,
        cwd=tmp_path,
    )  # fmt: skip
    done = run("nobody", "expects", "this")
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ") and "nobody" in line
    assert line.endswith("; --help lists the flags")
    done = run("--help")
    assert done.returncode == 0 and len(done.stdout.splitlines()) > 5, done
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_refused_is_not_answered_with_the_list_of_flags(tmp_path):
    (tmp_path / "mine.m").write_text("nothing")
    for path in ("mine.m", "nowhere.m"):
        done = subprocess.run(
            [sys.executable, "-m", "envs.case.convert", path, "--source=x"],
            capture_output=True, text=True, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 2, done
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and path in line and "--help" not in line
