"""The choice of what is explained: why one class or group, and not which other."""

from collections.abc import Iterable
from html import escape

WITH_TARGETS = """() => [...document.querySelectorAll("#targets select")].map((one) => one.value)
    .concat(document.documentElement.lang)"""
"""Reads what was chosen in the part of the page that `targets_html` is shown in, and the language of the page."""


def targets_html(classes: Iterable[str], groups: Iterable[str], *, target: str, instead_of: str) -> str:
    """Offer classes and groups to choose from, by the browser's own lists, which the page translates like any text.

    Args:
        classes: Labels of a checkpoint.
        groups: Of classes; one that is called like a class stands for it and is left out.
        target: What is chosen now; empty for the answer.
        instead_of: What it is compared with now; empty for anything else.
    """
    classes = list(classes)
    named = {label: label for label in classes}
    named |= {group: f"{group} (group)" for group in groups if group not in named}
    why = _list("Why", {"": "the answer"} | named, chosen=target)
    return why + _list("and not", {"": "anything else"} | named, chosen=instead_of)


def _list(label: str, named: dict[str, str], *, chosen: str) -> str:
    options = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(name)}</option>'
        for value, name in named.items()
    )
    return f"<label><span>{label}</span> <select>{options}</select></label>"
