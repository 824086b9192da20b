"""What the documentation names exists: links, files, commands, imports, options."""

import ast
import dataclasses
import importlib
import re
import typing

import pytest
from support import documentation
from support.documentation import ROOT

from configs import experiment
from envs import grid_env
from envs.step import rewards

PACKAGES = "actors|agents|benchmarks|configs|envs|evaluation|gridracer|launch|learner|replay"
# The changelog names what is gone.
NOW = [page for page in documentation.PAGES if page.name != "CHANGELOG.md"]

each_page = pytest.mark.parametrize("page", NOW, ids=documentation.name)


def _anchor(heading: str) -> str:
    """Returns what a heading is linked by, as GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", documentation.PAGES, ids=documentation.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", documentation.prose(page)):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} is no file"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", documentation.prose(file), re.MULTILINE)
            assert anchor in map(_anchor, headings), f"{target}: no such heading"


@each_page
def test_files_named_exist(page):
    named = re.findall(rf"\b(?:(?:{PACKAGES}|tests|docs)/[\w/]+\.\w+)", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@each_page
def test_what_is_said_to_be_in_a_file_is_there(page):
    for thing, path in re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", page.read_text()):
        defined = rf"^\s*(?:def|class) {thing}\b|^\s*{thing}\b.*[:=]"
        assert re.search(defined, (ROOT / path).read_text(), re.MULTILINE), f"{thing} in {path}"


@each_page
def test_commands_named_exist(page):
    for module in re.findall(rf"-m ((?:{PACKAGES})[\w.]*)", page.read_text()):
        assert importlib.util.find_spec(module.rstrip(".")), module


@each_page
def test_imports_in_code_blocks_work(page):
    for block in documentation.blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)


def _fields(record: type) -> dict[str, type]:
    return typing.get_type_hints(record) if dataclasses.is_dataclass(record) else {}


@each_page
def test_options_named_exist(page):
    """`--config.env.case` in full; `env.case` may also be something of the environment itself."""
    text = page.read_text()
    for path in re.findall(r"--config\.([a-z][\w.]*[a-z])", text):
        record = experiment.Experiment
        for part in path.split("."):
            fields = _fields(record)
            assert part in fields, f"--config.{path}: no field {part}"
            record = fields[part]
    options = _fields(experiment.EnvOptions)
    for option in re.findall(r"`env\.([a-z_]+)", text):
        known = option in options or hasattr(grid_env.GridEnv, option)
        assert known or option in ("layout", "grid", "fleet", "options"), f"env.{option}"


def test_every_package_is_in_the_map():
    page = ROOT / "docs" / "architecture.md"
    mapped = re.findall(r"^\| \d \| `([\w/]+)` \|", page.read_text(), re.MULTILINE)
    folders = (path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/__init__.py"))
    packages = {str(path) for path in folders if re.match(PACKAGES, str(path))}
    assert sorted(mapped) == sorted(packages)


def test_prices_are_the_defaults_of_their_options():
    page = (ROOT / "docs" / "mdp.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \$\S* \| `env\.(\w+)` \|", page, re.MULTILINE)
    table = {option: float(price.replace(",", "")) for _, price, option in rows}
    options = experiment.EnvOptions()
    fields = {field.name for field in dataclasses.fields(options) if field.name.endswith("_price")}
    assert set(table) | {"load_control_price"} == fields  # in the term itself, in $
    assert table == {option: getattr(options, option) for option in table}
    assert {term for term, _, _ in rows} <= set(rewards.TERM_UNITS)
