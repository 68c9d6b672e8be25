"""What the colours of heat maps mean, as a bar."""

from .overlay import colour_of_level

HEAT_MAP_NOTE = "Yellow marks what the answer rests on most, green what it rests on less."
_STOPS = 9

LEGEND_STYLE = """
.dfer-bar { display: inline-flex; align-items: center; gap: 6px; font-size: 13px; }
.dfer-bar i { display: inline-block; width: 110px; height: 12px; border: 1px solid currentColor; border-radius: 2px; }
"""
"""How the bar looks; it belongs into a `<style>` in the head of the page."""


def heat_map_bar_html() -> str:
    """The colours of a heat map in a row, from what counts little to what counts most."""
    stops = ", ".join("rgb({}, {}, {})".format(*colour_of_level(step / (_STOPS - 1))) for step in range(_STOPS))
    return (
        f'<span class="dfer-bar" role="img" aria-label="{HEAT_MAP_NOTE}">counts less'
        f'<i style="background:linear-gradient(90deg, {stops})"></i>more</span>'
    )
