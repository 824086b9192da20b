"""A MkDocs hook: links between files of the repository become links between pages of the site.

On a code host `[BUILD.md](../BUILD.md)` and `[a file](../agents/teams.py)` lead to files. Where
`pages.py` gives these a page, their links are turned to it before MkDocs looks whether links lead
somewhere. A link to what has no page is left as it is, and a strict build refuses it.
"""

import posixpath
from xml.etree import ElementTree

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

# MkDocs resolves links at priority 0; ours comes before.
_PRIORITY = 10
_SCHEMES = ("http:", "https:", "mailto:")


class RepositoryLinks(Extension):
    """Turns the links of the page that is rendered."""

    def __init__(self):
        super().__init__()
        self.page = ""  # where the page lies in the repository
        self.uri = ""  # and in the site
        self.uris: dict[str, str] = {}  # of every file of the repository that has a page

    def extendMarkdown(self, md: Markdown) -> None:
        """Registers the tree processor with `md`."""
        md.treeprocessors.register(_Turn(md, self), "repository_links", _PRIORITY)

    def turned(self, target: str) -> str:
        """Returns the link to `target`, of which the page says where it lies beside itself."""
        path, _, anchor = target.partition("#")
        if not path or target.startswith(_SCHEMES):
            return target
        file = posixpath.normpath(posixpath.join(posixpath.dirname(self.page), path))
        if file not in self.uris:
            return target
        uri = posixpath.relpath(self.uris[file], posixpath.dirname(self.uri) or ".")
        return f"{uri}#{anchor}" if anchor else uri


class _Turn(Treeprocessor):
    def __init__(self, md: Markdown, links: RepositoryLinks):
        super().__init__(md)
        self._links = links

    def run(self, root: ElementTree.Element) -> None:
        for element in root.iter():
            for name in ("href", "src"):
                if target := element.get(name):
                    element.set(name, self._links.turned(target))


_links = RepositoryLinks()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Adds the extension to those of every page."""
    config.markdown_extensions.append(_links)
    return config


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Tells the extension which page comes next; returns its text as it is."""
    _links.uris = {
        getattr(file, "repository_path", f"docs/{file.src_uri}"): file.src_uri for file in files
    }
    _links.uri = page.file.src_uri
    _links.page = getattr(page.file, "repository_path", f"docs/{_links.uri}")
    return markdown
