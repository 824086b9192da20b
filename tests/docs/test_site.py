"""The documentation is a site without dead links, that asks nothing of a network."""

import functools
import html.parser
import os
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest
from support.documentation import ROOT

_PYTHON = ROOT / os.environ.get("DOCS", ".venv-docs") / "bin" / "python"
_NOT_COPIED = shutil.ignore_patterns(".*", "site", "runs", "sweeps", "tests", "trained")

pytestmark = pytest.mark.skipif(
    not _PYTHON.exists(), reason="the documentation's environment is not installed: make docs"
)


class _Page(html.parser.HTMLParser):
    """Collects what a page links, what it loads, and the anchors it has."""

    def __init__(self, path: pathlib.Path):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.anchors |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("prev", "next", "canonical"):
            self.loads.append(given["href"])
        elif given.get("src"):
            self.loads.append(given["src"])


def _build(folder: pathlib.Path, site: pathlib.Path) -> subprocess.CompletedProcess:
    command = [_PYTHON, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "true"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    done = _build(ROOT, folder)
    assert done.returncode == 0, done.stderr
    return folder


def _pages(site):
    # Links of the page for what is not found begin at the root of a server.
    return [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]


def test_links_lead_to_pages_and_headings(site):
    read = functools.cache(_Page)
    dead, seen = [], 0
    for path in _pages(site):
        for link in read(path).links:
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = urllib.parse.unquote(link).partition("#")
            file = (path.parent / target).resolve() if target else path
            file = file / "index.html" if file.is_dir() else file
            seen += 1
            if not file.exists():
                dead.append((path.name, link))
            elif anchor and file.suffix == ".html" and anchor not in read(file).anchors:
                dead.append((path.name, link))
    assert seen > 5_000
    assert dead == []


def test_nothing_is_loaded_from_a_network(site):
    loads = [load for path in _pages(site) for load in _Page(path).loads]
    assert [load for load in loads if re.match(r"(?:https?:)?//", load)] == []
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert [url for style in styles for url in re.findall(r"url\(\W?https?:[^)]*", style)] == []


def test_what_pages_load_is_there(site):
    for path in _pages(site):
        for load in _Page(path).loads:
            if not load.startswith("data:"):
                assert (path.parent / load.partition("?")[0]).exists(), f"{path.name}: {load}"


def test_every_page_and_notebook_is_in_the_site(site):
    docs = ROOT / "docs"
    for source in [*docs.rglob("*.md"), *docs.rglob("*.ipynb")]:
        assert (site / source.relative_to(docs).with_suffix(".html")).exists(), source


def test_the_search_finds_docstrings_and_pages(site):
    index = (site / "search" / "search_index.js").read_text()
    said = ("Returns the start of a random day of", "charged above a thermal limit", "island")
    for words in (*said, "The parameters of frequency and its relays"):  # of a property
        assert words in index, words


def test_fields_of_options_are_told_with_type_range_and_default(site):
    page = re.sub(r"<[^>]+>", "", (site / "api/envs/options.html").read_text())
    row = re.search(r"load_control_share\s+\(\s*float\s*\)\s+–\s+(.*)", page)[1]
    assert "share of a load that may be moved up or down" in row
    assert "Range(0, 1, above=True)" in row and "Default: 0.1" in row


@pytest.mark.parametrize(
    "link",
    ["[a file](../agents/nobody.py)", "[a page](nothing.md)", "[a heading](mdp.md#no-such)"],
)
def test_a_dead_link_is_refused(link, tmp_path):
    folder = tmp_path / "repository"
    shutil.copytree(ROOT, folder, ignore=_NOT_COPIED)
    page = folder / "docs" / "failures.md"
    page.write_text(f"{page.read_text()}\nSee {link}.\n")
    done = _build(folder, tmp_path / "site")
    assert done.returncode != 0
    assert "failures.md" in done.stderr and link.rpartition("(")[2].strip(")") in done.stderr
