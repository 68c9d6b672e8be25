"""What was found, made visible: on the video itself, over time, and in words."""

from .colours import group_colours
from .overlay import draw_face, write_overlay
from .text import TABLE_HEADERS, describe_face, summarise, table_rows
from .timeline import Timeline, build_timeline, timeline_html

__all__ = [
    "TABLE_HEADERS",
    "Timeline",
    "build_timeline",
    "describe_face",
    "draw_face",
    "group_colours",
    "summarise",
    "table_rows",
    "timeline_html",
    "write_overlay",
]
