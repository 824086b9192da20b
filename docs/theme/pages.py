"""A MkDocs hook: the pages that do not lie in docs/ as Markdown.

- README.md, BUILD.md and the like, from the root of the repository;
- notebooks, with what they printed and drew when they were run last (`make notebooks`);
- a page of docstrings for each module that docs/api.md links, by mkdocstrings;
- a page with the text of any other file that a page links.

Each is told where it comes from (`repository_path`), so that `links.py` finds it.
"""

import pathlib
import posixpath
import re

import nbconvert
import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

_ROOT = pathlib.Path(__file__).parents[2]
_INTERFACE = "docs/api.md"
_LINK = re.compile(r"\]\(([^)\s#]+)")
_MODULE = re.compile(r"\| \[`[\w.]+`\]\(\.\./([\w/]+\.py)\)")
_LANGUAGES = {".py": "python", ".cff": "yaml", ".yml": "yaml", ".json": "json", ".m": "matlab"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages to those of docs/."""
    for notebook in sorted(_ROOT.glob("docs/notebooks/*.ipynb")):
        if file := files.get_file_from_path(f"notebooks/{notebook.name}"):
            files.remove(file)
        for added in _notebook(notebook, config):
            files.append(added)
    for page in sorted(_ROOT.glob("*.md")):
        _add(files, config, page.name, f"project/{page.stem.lower()}.md", page.read_text())
    modules = _modules()
    for group in modules.values():
        for path in group:
            _add(files, config, path, _api_uri(path), _reference(path))
    for target in sorted(_linked(files)):
        listing = _add(files, config, target, f"source/{target}.md", _listing(target))
        listing.inclusion = InclusionLevel.NOT_IN_NAV
    _enter(config.nav, modules)
    return files


def _add(files: Files, config: MkDocsConfig, origin: str, uri: str, content: str) -> File:
    file = File.generated(config, uri, content=content)
    file.repository_path = origin
    files.append(file)
    return file


def _modules() -> dict[str, list[str]]:
    """Returns the modules that the page of the interface has, by the heading they stand under."""
    groups = {}
    for line in (_ROOT / _INTERFACE).read_text().splitlines():
        if line.startswith("## "):
            group = groups.setdefault(line[3:], [])
        elif row := _MODULE.match(line):
            group.append(row[1])
    return groups


def _api_uri(path: str) -> str:
    return f"api/{path.removesuffix('.py')}.md"


def _enter(nav: list, modules: dict[str, list[str]]) -> None:
    """Enters the modules in the navigation, in the section that the page of the interface opens."""
    (section,) = (pages for entry in nav for pages in entry.values() if "api.md" in pages)
    for group, paths in modules.items():
        section.append({group: [{_name(path): _api_uri(path)} for path in paths]})


def _name(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".")


def _linked(files: Files) -> set[str]:
    """Returns which files of the repository pages link that have no page yet."""
    uris = {getattr(file, "repository_path", f"docs/{file.src_uri}") for file in files}
    found = set()
    for file in files.documentation_pages():
        origin = getattr(file, "repository_path", f"docs/{file.src_uri}")
        for path in _LINK.findall(file.content_string):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
            if target not in uris and (_ROOT / target).is_file():
                found.add(target)
    return found


def _reference(path: str) -> str:
    """Returns the page of a module, which mkdocstrings fills."""
    return f"# `{_name(path)}`\n\n::: {_name(path)}\n"


def _listing(path: str) -> str:
    """Returns the page with the text of a file; the search leaves it out."""
    language = _LANGUAGES.get(pathlib.Path(path).suffix, "text")
    text = (_ROOT / path).read_text()
    fence = "`" * 6  # longer than any in the text
    return f"---\nsearch:\n  exclude: true\n---\n# `{path}`\n\n{fence}{language}\n{text}\n{fence}\n"


def _notebook(path: pathlib.Path, config: MkDocsConfig) -> list[File]:
    """Returns the page of a notebook and its pictures, from its outputs as they were committed."""
    origin = f"docs/notebooks/{path.name}"
    exporter = nbconvert.MarkdownExporter()
    exporter.register_filter("indent", _output)  # its template indents what cells print
    resources = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
    content, resources = exporter.from_notebook_node(
        nbformat.read(path, as_version=4), resources=resources
    )
    page = File.generated(config, f"notebooks/{path.stem}.md", content=content)
    page.repository_path = origin
    pictures = [
        File.generated(config, f"notebooks/{name}", content=data)
        for name, data in resources["outputs"].items()
    ]
    return [page, *pictures]


def _output(text: str) -> str:
    """Returns what a cell has printed as a block that the style tells from programs."""
    return f"```{{.text .output}}\n{text.rstrip()}\n```\n"
