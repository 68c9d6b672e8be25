"""What was found, made visible: on the video itself, over time, in words, and as a report."""

from .colours import group_colours, group_looks
from .compare import COMPARE_STYLE, COMPARE_TITLE, comparison_article, comparison_html
from .legend import HEAT_MAP_NOTE, LEGEND_STYLE, heat_map_bar_html
from .overlay import draw_face, write_overlay
from .report import clip_article, error_article, page_foot, page_head
from .strip import STRIP_STYLE, strip_html, thumbnail
from .text import (
    TABLE_HEADERS,
    describe_face,
    explanation_notes,
    length_of,
    name_face,
    summarise,
    table_rows,
    warning_notes,
)
from .timeline import TIMELINE_STYLE, Timeline, build_timeline, timeline_html

__all__ = [
    "COMPARE_STYLE",
    "COMPARE_TITLE",
    "HEAT_MAP_NOTE",
    "LEGEND_STYLE",
    "STRIP_STYLE",
    "TABLE_HEADERS",
    "TIMELINE_STYLE",
    "Timeline",
    "build_timeline",
    "clip_article",
    "comparison_article",
    "comparison_html",
    "describe_face",
    "draw_face",
    "error_article",
    "explanation_notes",
    "group_colours",
    "group_looks",
    "heat_map_bar_html",
    "length_of",
    "name_face",
    "page_foot",
    "page_head",
    "strip_html",
    "summarise",
    "table_rows",
    "thumbnail",
    "timeline_html",
    "warning_notes",
    "write_overlay",
]
