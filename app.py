"""The page: a video or image goes in; the same with faces marked, the answer and its timeline come out.

python app.py [--port 7860] [--max-seconds 120] [--max-megabytes 100]
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import routes
from starlette.middleware import Middleware

from dfer_hf.analysis import AnalysisWorkers
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT, shipped_checkpoints
from dfer_hf.video import VideoLimits
from dfer_hf.visualize import COMPARE_STYLE, STRIP_STYLE, TIMELINE_STYLE
from dfer_hf.worker import JobRefusedError
from page.guards import ClosedBlocks, ClosedRoutes, example_clip
from page.handlers import Handlers
from page.layout import TITLE, Layout

MAX_SECONDS, MAX_MEGABYTES = 120.0, 100.0
LIMITS = VideoLimits(max_seconds=MAX_SECONDS, max_bytes=int(MAX_MEGABYTES * 1e6))
# Those who wait hold a thread each; looking at a file and cancelling need some, too.
MAX_WAITING, MAX_THREADS, MAX_SESSIONS = 32, 64, 256

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.teal,
    secondary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "sans-serif"],
    font_mono=["system-ui", "sans-serif"],
).set(button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_600")


def build_demo(workers: AnalysisWorkers) -> gr.Blocks:
    """Build the page.

    Args:
        workers: What analyses, with what to refuse; the first of its names is chosen when the page opens.
    """
    handlers = Handlers(workers)
    threading.Thread(target=handlers.pages.keep_deleting_old, daemon=True).start()
    clip = example_clip()
    gr.set_static_paths([clip])
    with ClosedBlocks(title=TITLE, analytics_enabled=False) as demo:
        page = Layout(workers.names, workers.limits)
        answer = [page.fine, page.coarse, page.timeline, page.table, page.strip]
        files = [page.json_file, page.csv_file, page.report_file]
        running = page.start.click(
            handlers.analyse,
            [page.video, page.model, page.heat_map],
            [page.overlay, page.summary, *answer, *files],
            api_name="analyse",
            show_progress_on=page.overlay,
            concurrency_limit=MAX_WAITING,
        )
        comparing = page.start_comparison.click(
            handlers.compare,
            [page.video, page.models],
            [page.comparison, page.comparison_json, page.comparison_report],
            api_name="compare",
            show_progress_on=page.comparison,
            concurrency_limit=MAX_WAITING,
        )
        quiet = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        hidden = [page.face, page.beside, page.below]
        running.success(handlers.unveil, None, hidden, **quiet)
        comparing.success(lambda: gr.Row(visible=True), None, page.below_comparison, **quiet)
        page.stop.click(handlers.cancel, cancels=[running], **quiet)
        page.stop_comparison.click(handlers.cancel, cancels=[comparing], **quiet)
        page.example.click(lambda: str(clip), None, page.video, **quiet)
        page.camera.stop_recording(
            lambda clip: (clip["path"], None, gr.Tabs(selected="upload")),
            page.camera,
            [page.video, page.camera, page.ways],
            preprocess=False,
            **quiet,
        )
        forgotten = [page.timeline, page.comparison, page.below_comparison]
        chosen = [page.video, page.preview, page.overlay, page.summary, *hidden, *forgotten]
        page.video.change(handlers.change_video, page.video, chosen, **quiet)
        page.face.input(handlers.choose_face, page.face, answer, **quiet)
        demo.unload(handlers.close)
    return demo.queue(max_size=MAX_WAITING, api_open=False)


def launch_options(limits: VideoLimits = LIMITS) -> dict[str, Any]:
    """What `launch` needs to know of the page."""
    parts = Path(__file__).parent / "page"
    css, script = ((parts / name).read_text(encoding="utf-8") for name in ("page.css", "timeline.js"))
    # Gradio rewrites what it takes for CSS, and does not know container queries.
    head = f"<style>{TIMELINE_STYLE}{STRIP_STYLE}{COMPARE_STYLE}</style><script>{script}</script>"
    looks = {"theme": THEME, "css": css, "head": head, "footer_links": ["api"]}
    bounds = {"max_file_size": limits.max_bytes, "max_threads": MAX_THREADS, "state_session_capacity": MAX_SESSIONS}
    # The history of runs would keep every answer in the browser.
    private = {"run_history": False, "share": False, "app_kwargs": {"middleware": [Middleware(ClosedRoutes)]}}
    return {**looks, **bounds, **private, "ssr_mode": False}


def main() -> None:
    """Show the page until stopped."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, help="the first free one from 7860 when left out")
    parser.add_argument("--max-seconds", type=float, default=MAX_SECONDS, help="longest video")
    parser.add_argument("--max-megabytes", type=float, default=MAX_MEGABYTES, help="largest file")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    arguments = parser.parse_args()
    limits = replace(LIMITS, max_seconds=arguments.max_seconds, max_bytes=int(arguments.max_megabytes * 1e6))
    for sent in (signal.SIGTERM, signal.SIGINT):
        # Or nothing would be deleted.
        signal.signal(sent, lambda *_: sys.exit(0))
    checkpoints = shipped_checkpoints()
    names = sorted(checkpoints, key=lambda name: (name != DEFAULT_CHECKPOINT, name))
    place = os.environ.get("GRADIO_TEMP_DIR")
    with (
        tempfile.TemporaryDirectory(prefix="dfer-app-", dir=place, ignore_cleanup_errors=True) as cache,
        closing(AnalysisWorkers({name: checkpoints[name] for name in names}, limits=limits)) as workers,
    ):
        # Gradio has read the variable already, for one of its folders.
        os.environ["GRADIO_TEMP_DIR"] = routes.DEFAULT_TEMP_DIR = cache
        # Gradio notices at a heartbeat that a page was closed.
        os.environ["GRADIO_HEARTBEAT_INTERVAL"] = "1"
        try:
            workers.start()
        except JobRefusedError as error:
            parser.error(str(error))
        demo = build_demo(workers)
        name = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
        demo.launch(server_name=name, server_port=arguments.port, inbrowser=arguments.open, **launch_options(limits))


if __name__ == "__main__":
    main()
