"""Prepare the manual's pages for the site: a hook of mkdocs.

A link to a file of the repository outside `docs/` works on GitHub and in a clone. The site does not hold such files,
so their names stand there without a link.
"""

import re
from posixpath import join, normpath
from typing import Any

LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **unused: Any) -> str:
    """Turn links that leave the manual into their text; called by mkdocs for each page."""
    return without_outer_links(markdown, page.file.src_uri)


def without_outer_links(markdown: str, place: str) -> str:
    """Turn links that leave the folder of the manual into their text.

    Args:
        markdown: Text of a page.
        place: The page, from the manual's folder.
    """

    def shown(match: re.Match[str]) -> str:
        target = match[2]
        is_outside = normpath(join(place, "..", target)).startswith("..") and not re.match(r"[a-z]+:", target)
        return match[1] if is_outside else match[0]

    return LINK.sub(shown, markdown)
