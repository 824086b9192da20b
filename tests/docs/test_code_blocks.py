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
OWN = ("launch.", "envs.", "gridracer.", "evaluation.", "benchmarks.", "examples/")
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


def _commands(text: str) -> list[list[str]]:
    """Returns the arguments of each `python …` of a shell block, `-m` not among them."""
    joined = text.replace("\\\n", "")
    lines = [re.sub(r"^\.venv[\w-]*/bin/", "", line.strip()) for line in joined.splitlines()]
    given = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("python ")]
    return [arguments[1:] if arguments[0] == "-m" else arguments for arguments in given]


@functools.cache
def _help(module: str) -> str:
    """Returns a command's help."""
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False
    )
    assert done.stdout, f"{module}: {done.stderr}"
    return done.stdout


def _flags(module: str) -> set[str]:
    """Returns the flags that a command's help lists, or a script of `examples` adds."""
    if module.endswith(".py"):
        return set(re.findall(r"add_argument\(\s*\"--([\w-]+)", (ROOT / module).read_text()))
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
            for arguments in _commands(block.text):
                if arguments[0] in CHEAP:
                    subprocess.run([sys.executable, "-m", *arguments], check=True)


def test_commands_have_the_flags_that_pages_give_them():
    checked = set()
    for page in sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md")]):
        blocks = [b.text for b in documentation.blocks(page) if b.language in ("", "sh")]
        indented = re.findall(r"^    .+$", documentation.prose(page), re.MULTILINE)
        for module, *arguments in _commands("\n".join([*blocks, *indented])):
            if not module.startswith(OWN):
                continue
            given = {a[2:].split("=")[0] for a in arguments if a.startswith("--")}
            known = _flags(module) | {f"no{flag}" for flag in _flags(module)} | {"help"}
            assert not given - known, f"{page}: {module}"
            checked.add(module)
    assert {"launch.local", "gridracer.grid2op", "examples/rllib_ppo.py"} <= checked


@pytest.mark.parametrize(
    "flag, names", [("controllers", registry.BASELINES), ("scenarios", suite.SCENARIOS)]
)
def test_the_help_of_evaluations_lists_what_there_is(flag, names):
    """The text is written out: what it lists is imported after flags are read."""
    text = re.search(rf"--{flag}: (.*?)\(a comma", _help("launch.evaluate"), re.DOTALL)
    listed = set(re.findall(r"\w+", text.group(1)))
    assert set(names) - listed == set()
