"""The page: a video or image goes in; the same with faces marked, the answer and its timeline come out.

python app.py [--port 7860] [--max-seconds 120] [--max-megabytes 100]

Variables of the environment set the same and more: see `page/settings.py`.
"""

import argparse
import json
import logging
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
from dfer_hf.language import read_tables
from dfer_hf.visualize import COMPARE_STYLE, LEGEND_STYLE, STRIP_STYLE, TIMELINE_STYLE
from dfer_hf.worker import JobRefusedError
from page.assistants import offer_tools
from page.describe import DescribedBlocks
from page.guards import ClosedRoutes, example_clips
from page.handlers import Handlers
from page.languages import IN_LANGUAGE
from page.layout import TITLE, Layout
from page.live import LiveCameras
from page.service import Service, add_service, health_route
from page.settings import SettingError, Settings
from page.targets import WITH_TARGETS
from page.zero import ZeroWorkers, is_on_zero

DEFAULTS = Settings()
# Those who wait hold a thread each; looking at a file and cancelling need some, too.
SPARE_THREADS, MAX_SESSIONS = 32, 256

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.teal,
    secondary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "sans-serif"],
    font_mono=["system-ui", "sans-serif"],
).set(
    # Gradio's own are too faint to be read.
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_hover_dark="*primary_800",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_300",
    stat_background_fill="*primary_600",
    stat_background_fill_dark="*primary_400",
    input_placeholder_color="*neutral_600",
    input_placeholder_color_dark="*neutral_300",
)


def build_demo(workers: AnalysisWorkers, settings: Settings = DEFAULTS) -> gr.Blocks:
    """Build the page.

    Args:
        workers: What analyses, with what to refuse; the first of its names is chosen when the page opens.
        settings: How many may wait.
    """
    handlers = Handlers(workers)
    service = Service(handlers)
    threading.Thread(target=handlers.pages.keep_deleting_old, daemon=True).start()
    clips = example_clips().values()
    gr.set_static_paths([*clips, *(clip.with_suffix(".jpg") for clip in clips)])
    with DescribedBlocks(title=TITLE, analytics_enabled=False) as demo:
        page = Layout(workers.names, workers.limits, has_live=settings.max_cameras > 0)
        answer = [page.fine, page.coarse, page.timeline, page.table, page.strip]
        files = [page.json_file, page.csv_file, page.report_file]
        answered = [page.overlay_file, page.summary, *answer, *files]
        options = {"show_progress_on": page.player, "concurrency_limit": settings.max_waiting}
        running = page.start.click(
            service.analyse,
            [page.video, page.model, page.heat_map, page.language],
            answered,
            js=IN_LANGUAGE,
            api_name="analyse",
            **options,
        )
        explaining = page.explain.click(
            handlers.explain,
            [page.target, page.instead_of, page.language],
            answered,
            js=WITH_TARGETS,
            # `explain` is what programs ask for.
            api_name="explain_shown",
            api_visibility="private",
            **options,
        )
        comparing = page.start_comparison.click(
            service.compare,
            [page.video, page.models, page.language],
            [page.comparison, page.comparison_json, page.comparison_report],
            js=IN_LANGUAGE,
            api_name="compare",
            show_progress_on=page.comparison,
            concurrency_limit=settings.max_waiting,
        )
        add_service(page, service, settings)
        quiet = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        hidden = [page.face, page.beside, page.below]
        unveiled = [*hidden, page.player, page.why, page.targets, page.stale]
        for done in (running, explaining):
            done.success(handlers.unveil, None, unveiled, **quiet)
        comparing.success(lambda: gr.Row(visible=True), None, page.below_comparison, **quiet)
        page.stop.click(handlers.cancel, cancels=[running, explaining], **quiet)
        page.stop_comparison.click(handlers.cancel, cancels=[comparing], **quiet)
        for clip, button in page.examples.items():
            button.click(lambda clip=clip: str(clip), None, page.video, **quiet)
        page.camera.stop_recording(
            lambda clip: (clip["path"], None, gr.Tabs(selected="upload")),
            page.camera,
            [page.video, page.camera, page.ways],
            preprocess=False,
            **quiet,
        )
        forgotten = [page.timeline, page.comparison, page.below_comparison]
        chosen = [page.video, page.preview, page.player, page.stale, page.summary, *hidden, *forgotten]
        page.video.change(handlers.change_video, page.video, chosen, **quiet)
        page.face.select(handlers.choose_face, None, [*answer, page.why], **quiet)
        page.model.input(handlers.choose_model, page.model, page.stale, **quiet)
        demo.unload(handlers.close)
    return demo.queue(max_size=settings.max_waiting, api_open=False)


def launch_options(workers: AnalysisWorkers, settings: Settings = DEFAULTS) -> dict[str, Any]:
    """What `launch` needs to know of the page."""
    parts = Path(__file__).parent / "page"
    names = ("language.js", "timeline.js", "player.js", "live.js")
    scripts = ((parts / name).read_text(encoding="utf-8") for name in names)
    css = "\n".join((parts / name).read_text(encoding="utf-8") for name in ("page.css", "live.css"))
    tables = f"const TABLES = {json.dumps(read_tables(), ensure_ascii=False)};"
    cameras = LiveCameras(workers, most=settings.max_cameras)
    threading.Thread(target=cameras.keep_closing_idle, daemon=True).start()
    # Gradio rewrites what it takes for CSS, and does not know container queries.
    styles = TIMELINE_STYLE + STRIP_STYLE + LEGEND_STYLE + COMPARE_STYLE
    head = f"<style>{styles}</style><script>{tables}{''.join(scripts)}</script>"
    looks = {"theme": THEME, "css": css, "head": head, "footer_links": ["api"]}
    threads = settings.max_waiting + SPARE_THREADS
    bounds = {
        "max_file_size": workers.limits.max_bytes,
        "max_threads": threads,
        "state_session_capacity": MAX_SESSIONS,
    }
    # The history of runs would keep every answer in the browser.
    routes = [*cameras.routes, health_route(workers.names)]
    beside = {"app_kwargs": {"middleware": [Middleware(ClosedRoutes)], "routes": routes}, "mcp_server": offer_tools()}
    return {**looks, **bounds, **beside, "run_history": False, "share": False, "ssr_mode": False}


def main() -> None:
    """Show the page until stopped."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    try:
        settings = Settings.from_environment()
    except SettingError as error:
        parser.error(f"{type(error).__name__}: {error}")
    parser.add_argument("--port", type=int, help="the first free one from 7860 when left out")
    parser.add_argument("--max-seconds", type=float, default=settings.max_seconds, help="longest video")
    parser.add_argument("--max-megabytes", type=float, default=settings.max_megabytes, help="largest file")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    arguments = parser.parse_args()
    settings = replace(settings, max_seconds=arguments.max_seconds, max_megabytes=arguments.max_megabytes)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("dfer_hf").setLevel(logging.INFO)
    for sent in (signal.SIGTERM, signal.SIGINT):
        # Or nothing would be deleted.
        signal.signal(sent, lambda *_: sys.exit(0))
    checkpoints = shipped_checkpoints()
    names = sorted(checkpoints, key=lambda name: (name != DEFAULT_CHECKPOINT, name))
    place = os.environ.get("GRADIO_TEMP_DIR")
    with (
        tempfile.TemporaryDirectory(prefix="dfer-app-", dir=place, ignore_cleanup_errors=True) as cache,
        closing(
            (ZeroWorkers if is_on_zero() else AnalysisWorkers)(
                {name: checkpoints[name] for name in names}, limits=settings.limits, at_once=settings.analyses_at_once
            )
        ) as workers,
    ):
        # Gradio has read the variable already, for one of its folders.
        os.environ["GRADIO_TEMP_DIR"] = routes.DEFAULT_TEMP_DIR = cache
        # Gradio notices at a heartbeat that a page was closed.
        os.environ["GRADIO_HEARTBEAT_INTERVAL"] = "1"
        try:
            workers.start()
        except JobRefusedError as error:
            parser.error(str(error))
        demo = build_demo(workers, settings)
        name = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
        options = launch_options(workers, settings)
        demo.launch(server_name=name, server_port=arguments.port, inbrowser=arguments.open, **options)


if __name__ == "__main__":
    main()
