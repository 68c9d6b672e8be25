"""The answer as a video: faces marked, heat maps to fade in and out, the original beside it."""

import html
import re
from pathlib import Path
from urllib.parse import quote

from dfer_hf.visualize import heat_map_bar_html

IMAGE = re.compile(r"\.(apng|avif|bmp|gif|heic|jpe?g|png|tiff?|webp)$", re.IGNORECASE)


def file_url(path: str | Path) -> str:
    """Where the page serves a file, ready for an attribute."""
    return html.escape(f"gradio_api/file={quote(str(path))}")


def preview_html(video: str) -> str:
    """Show an upload as far as the browser can."""
    sorry = "this.replaceWith('This browser cannot play the file. It can be analysed all the same.')"
    if IMAGE.search(video):
        return f'<img src="{file_url(video)}" alt="Your image" onerror="{sorry}">'
    return (
        f'<video src="{file_url(video)}" aria-label="Your video" controls muted playsinline onerror="{sorry}"></video>'
    )


def player_html(overlay: Path, *, original: Path, plain: Path | None, said: str) -> str:
    """Show the overlay with controls; `player.js` moves all its videos together.

    Args:
        overlay: The video with faces and, where they were asked for, heat maps marked.
        original: What was uploaded.
        plain: The overlay without heat maps, laid over the other: the stronger it covers, the fainter are the maps.
        said: What the video shows, for those who cannot see it.
    """
    described = html.escape(said)
    base = (
        f'<video class="base" src="{file_url(overlay)}" aria-label="{described}" playsinline preload="auto"></video>'
    )
    over, fading = "", ""
    if plain is not None:
        source = f'src="{file_url(plain)}" muted playsinline preload="auto"'
        over = f'<video class="follows plain" {source} aria-hidden="true"></video>'
        fading = (
            '<label><input type="checkbox" class="map-on" checked> Map</label>'
            '<label>Opacity <input type="range" class="map-opacity" min="0" max="100" value="100"></label>'
            f"{heat_map_bar_html()}"
        )
    if IMAGE.search(original.name):
        beside = f'<img src="{file_url(original)}" alt="The original">'
    else:
        beside = (
            f'<video class="follows" src="{file_url(original)}" aria-label="The original" muted playsinline></video>'
        )
    return (
        f'<div class="dfer-player"><div class="pictures"><div class="layers">{base}{over}</div>'
        f'<div class="original" hidden>{beside}</div></div>'
        '<div class="controls"><button type="button" class="play" aria-label="Play">▶</button>'
        '<input type="range" class="seek" aria-label="Moment of the video" min="0" max="1" step="0.01" value="0">'
        '<output class="at">0.0 s</output>'
        '<button type="button" class="sound" aria-pressed="true">Sound</button></div>'
        f'<div class="controls">{fading}<label><input type="checkbox" class="show-original"> '
        "Original beside it</label></div></div>"
    )
