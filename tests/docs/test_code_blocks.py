"""Code in the documentation: Python runs, commands take the flags that they are given."""

import functools
import re
import shlex
import subprocess
import sys

import pytest
from support import documentation
from support.documentation import ROOT

from agents import teams
from agents.baselines import registry
from envs.step import layouts, observations, rewards
from evaluation.scenarios import suite

DOCS = ROOT / "docs"
PAGES = [DOCS / "quickstart.md", *sorted((DOCS / "howto").glob("*.md"))]
# Pages that explain, where their examples stand by themselves; some compile for long.
EXPLAINING = [DOCS / "coming_from.md", DOCS / "fleets.md", DOCS / "frequency.md"]
LONG = [ROOT / "README.md", DOCS / "contingency.md", DOCS / "powerflow.md"]
CHEAP = ("envs.case.convert",)  # commands that are run, after the page's Python
REGISTRIES = (
    observations.BLOCKS,
    layouts.LAYOUTS,
    rewards.REWARDS,
    suite.SCENARIOS,
    registry.BASELINES,
    teams.TEAMS,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in; what a page registers is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    before = [dict(registered) for registered in REGISTRIES]
    yield tmp_path
    for registered, entries in zip(REGISTRIES, before):
        registered.clear()
        registered.update(entries)


def _commands(block: documentation.Block) -> list[list[str]]:
    """Returns the arguments of each `python -m MODULE …` of a shell block."""
    lines = [line.removeprefix(".venv/bin/") for line in block.text.splitlines()]
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("python -m")]


@functools.cache
def _help(module: str) -> str:
    """Returns a command's help."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    assert done.stdout, f"{module}: {done.stderr}"
    return done.stdout


def _flags(module: str) -> set[str]:
    """Returns the flags that a command's help lists."""
    return set(re.findall(r"^\s+--(?:\[no\])?([\w.]+)", _help(module), re.MULTILINE))


@pytest.mark.parametrize(
    "page",
    [*PAGES, *EXPLAINING, *(pytest.param(page, marks=pytest.mark.slow) for page in LONG)],
    ids=documentation.name,
)
def test_code_blocks_run_in_order(page, folder):
    """Python in one namespace; a cheap command where it stands, as later blocks read its files."""
    namespace = {"__name__": "page"}
    for block in documentation.blocks(page):
        if block.language == "python":
            # Padded, so that a traceback has the line of the page.
            code = "\n" * (block.line - 1) + block.text
            exec(compile(code, str(page), "exec"), namespace)
        elif block.language == "sh":
            for arguments in _commands(block):
                if arguments[0] in CHEAP:
                    subprocess.run([sys.executable, "-m", *arguments], check=True)


@pytest.mark.parametrize("page", [*PAGES, *EXPLAINING], ids=documentation.name)
def test_commands_have_the_flags_that_pages_give_them(page):
    for block in documentation.blocks(page):
        if block.language != "sh":
            continue
        for module, *arguments in _commands(block):
            given = {a[2:].split("=")[0] for a in arguments if a.startswith("--")}
            assert not given - _flags(module), f"line {block.line}: {module}"


@pytest.mark.parametrize(
    "flag, names", [("controllers", registry.BASELINES), ("scenarios", suite.SCENARIOS)]
)
def test_the_help_of_evaluations_lists_what_there_is(flag, names):
    """The text is written out: what it lists is imported after flags are read."""
    text = re.search(rf"--{flag}: (.*?)\(a comma", _help("launch.evaluate"), re.DOTALL)
    listed = set(re.findall(r"\w+", text.group(1)))
    assert set(names) - listed == set()
