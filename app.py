"""The page: a video or image goes in; the same with faces marked, the answer and its timeline come out.

python app.py [--port 7860] [--max-seconds 120] [--max-megabytes 100]
"""

import argparse
import html
import os
import re
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio import routes
from gradio.data_classes import FileData
from gradio.utils import get_upload_folder
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse

from dfer_hf.analysis import CSV_NAME, JSON_NAME, OVERLAY_NAME, AnalysisWorkers, ShownFace
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT, shipped_checkpoints, shipped_folder
from dfer_hf.open_pages import OpenPages
from dfer_hf.video import VideoLimits
from dfer_hf.visualize import HEAT_MAP_NOTE, TABLE_HEADERS, TIMELINE_STYLE
from dfer_hf.worker import JobCancelledError, JobRefusedError

MAX_SECONDS, MAX_MEGABYTES = 120.0, 100.0
LIMITS = VideoLimits(max_seconds=MAX_SECONDS, max_bytes=int(MAX_MEGABYTES * 1e6))
# Those who wait hold a thread each; looking at a file and cancelling need some, too.
MAX_WAITING, MAX_THREADS, MAX_SESSIONS, ERROR_SECONDS = 32, 64, 256, 20
IMAGE = re.compile(r"\.(apng|avif|bmp|gif|heic|jpe?g|png|tiff?|webp)$", re.IGNORECASE)

TITLE = "Facial expressions in video"

INTRODUCTION = f"""# {TITLE}
Finds the faces in a short video or an image, says which expression each one shows moment by moment, and marks what
the answer rests on.
"""

NOTICE = """**An expression is not an emotion.** This page describes what a face looks like; it cannot know what a
person feels, and it is often wrong. Upload only people who agreed to it. In the European Union it is forbidden to use
such a system to infer emotions at work or in education, except for medical or safety reasons
(AI Act, Article 5(1)(f)).

**Your video or image** is processed by the computer that serves this page and by no other. It is deleted with its
results when you close the page, and after an hour at the latest. Until then, whoever has the address of a file can
open it.
"""

CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#notice { border-left: 4px solid #e69f00; padding: 10px 16px; background: var(--background-fill-secondary);
  border-radius: 4px; }
#notice p { margin: 0; font-size: .92rem; line-height: 1.45; }
#notice p + p { margin-top: 8px; }
#summary p { margin: 4px 0; }
#clip { gap: 8px; }
#preview :is(video, img) { display: block; max-width: 100%; max-height: 290px; margin: 0 auto; }
#preview p { margin: 0; padding: 10px 16px; }
#preview [role=alert] { border-left: 4px solid #d55e00; }
#table { width: 0; min-width: 100% !important; }
#timeline .dfer-timeline { padding-top: 26px; }
#timeline:not(:has(.dfer-timeline)) { display: none; }
footer { opacity: .7; }
"""

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.teal,
    secondary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "sans-serif"],
    font_mono=["system-ui", "sans-serif"],
).set(button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_600")


def example_clip() -> Path:
    """The example clip."""
    return shipped_folder("examples") / "astronaut.webm"


def refusal(message: str) -> gr.Error:
    """An error in plain words, escaped as it may hold the name of the file."""
    return gr.Error(html.escape(message, quote=False), duration=ERROR_SECONDS, print_exception=False)


def session_of(request: gr.Request) -> str:
    """Name of the page that asks; plain HTTP calls have no page and get a name of their own."""
    return request.session_hash or secrets.token_urlsafe()


class ClosedBlocks(gr.Blocks):
    """Blocks that are given uploads only: Gradio would fetch the file behind an address that a call names."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Refuse other files before anything else is done with them."""
        folder = Path(get_upload_folder()).resolve()
        for path in files_named_in(inputs):
            if not Path(path).resolve().is_relative_to(folder) and Path(path) != example_clip():
                raise refusal("Upload the file: addresses and paths are not followed.")
        return await super().preprocess_data(block_fn, inputs, *args, **kwargs)


def files_named_in(value: Any) -> Iterator[str]:
    """Every file that the data of a call names, however deep."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str):
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from files_named_in(part)


class ClosedRoutes:
    """Keeps away from Gradio's routes that fetch addresses, or decode videos in this process."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer such a request with 403, and pass on all others."""
        closed = re.search(r"/gradio_api/(file[=/]\w+:/|proxy=|process_recording)", scope.get("path", ""))
        answer = PlainTextResponse("Forbidden", status_code=403) if closed else self.app
        await answer(scope, receive, send)


class Upload(gr.File):
    """A file by its path; Gradio's own leaves an empty file behind for every call."""

    is_template = True

    def preprocess(self, payload: FileData | None) -> str | None:
        """The path of the upload."""
        return payload.path if payload else None


class DecidedLabel(gr.Label):
    """A label whose headline is the answer, which need not be the most probable class."""

    is_template = True

    def postprocess(self, value: tuple[str, Any] | None) -> Any:
        """Put the answer above the probabilities."""
        if value is None:
            return {}
        answer, probabilities = value
        shown: Any = super().postprocess(probabilities)
        return shown.model_copy(update={"label": answer})


def preview_html(video: str) -> str:
    """Show an upload as far as the browser can."""
    source = html.escape(f"gradio_api/file={quote(video)}")
    sorry = "this.replaceWith('This browser cannot play the file. It can be analysed all the same.')"
    if IMAGE.search(video):
        return f'<img src="{source}" alt="Your image" onerror="{sorry}">'
    return f'<video src="{source}" controls muted playsinline onerror="{sorry}"></video>'


class Handlers:
    """What the page does when something is pressed."""

    def __init__(self, workers: AnalysisWorkers) -> None:
        self.workers, self.pages = workers, OpenPages(Path(get_upload_folder()))

    def analyse(
        self,
        video: str | None,
        model: str,
        heat_map: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds the bar by this default
    ) -> tuple[Any, ...]:
        """Find the faces in a video or image and read their expressions.

        Returns the video with faces marked, a note as HTML, the probabilities of expressions and of their groups over
        the clip, the timeline as HTML, a table with one row per frame, and everything as JSON and CSV files.
        """
        if video is None or not Path(video).is_file():
            raise refusal(
                "Choose a video or image first, or again if it was deleted after an hour: upload one, record one, "
                "or take the example clip."
            )
        session = session_of(request)
        self.pages.show(session, video)
        with self.pages.analysis(session) as (folder, page):
            try:
                answer = self.workers.analyse(
                    model,
                    video,
                    folder,
                    heat_map=heat_map,
                    on_progress=lambda share, doing: progress(share, desc=doing),
                    cancelled=page.cancelled,
                )
            except (JobRefusedError, JobCancelledError) as error:
                raise refusal(str(error) or "The analysis was stopped.") from error
        page.faces = {face.track_id: face for face in answer.faces}
        notes = answer.summary + [HEAT_MAP_NOTE] * heat_map
        return (
            folder / OVERLAY_NAME,
            "".join(f"<p>{html.escape(note)}</p>" for note in notes),
            *show(answer.faces[0]),
            folder / JSON_NAME,
            folder / CSV_NAME,
        )

    def choose_face(self, track_id: int, request: gr.Request) -> tuple[Any, ...]:
        """Show another face."""
        faces = self.pages.page(session_of(request)).faces
        if track_id not in faces:
            raise refusal("The answer was deleted. Analyse the video again.")
        return show(faces[track_id])

    def unveil(self, request: gr.Request) -> tuple[Any, ...]:
        """Show the answer's place, and the choice of faces where there are several."""
        faces = self.pages.page(session_of(request)).faces.values()
        choices = [(face.description, face.track_id) for face in faces]
        face = gr.Radio(choices, value=choices[0][1] if choices else None, visible=len(choices) > 1)
        return face, gr.Column(visible=True), gr.Column(visible=True)

    def change_video(self, video: str | None, request: gr.Request) -> Any:
        """Look at a new video, refuse it here where it is bad, and forget the answer to the one before."""
        session = session_of(request)
        if not self.pages.show(session, video):
            return gr.skip()
        hidden = gr.Radio(visible=False), gr.Column(visible=False), gr.Column(visible=False)
        forgotten = None, "", *hidden
        if video is None:
            return None, "", *forgotten
        try:
            self.workers.look_at(video)
        except JobRefusedError as error:
            self.pages.show(session, None)
            return None, f'<p role="alert">{html.escape(str(error))}</p>', *forgotten
        return gr.skip(), preview_html(video), *forgotten

    def cancel(self, request: gr.Request) -> None:
        """Stop the analysis of this page."""
        self.pages.cancel(session_of(request))

    def close(self, request: gr.Request) -> None:
        """Delete what belongs to this page."""
        self.pages.close(session_of(request))


def show(face: ShownFace) -> tuple[Any, ...]:
    """Answer, group, timeline and table of one face."""
    return (face.answer, face.fine), (face.group, face.coarse), face.timeline_html, face.table


class Layout:
    """The parts of the page, placed where they are made."""

    def __init__(self, names: list[str], limits: VideoLimits) -> None:
        gr.Markdown(INTRODUCTION)
        gr.Markdown(NOTICE, elem_id="notice")
        with gr.Row():
            with gr.Column(min_width=300):
                self._place_inputs(names, limits)
            with gr.Column(min_width=300):
                self.overlay = gr.Video(label="Faces and expressions", interactive=False, height=340)
                self.summary = gr.HTML(label="Note", elem_id="summary")
                self.face = gr.Radio([], label="Which face", visible=False)
                with gr.Column(visible=False) as self.beside:
                    self.coarse = DecidedLabel(label="Group of expressions", elem_id="coarse")
        with gr.Column(visible=False) as self.below:
            self._place_results()

    def _place_inputs(self, names: list[str], limits: VideoLimits) -> None:
        label = f"Your video, up to {limits.max_seconds:g} seconds" if limits.max_seconds else "Your video"
        with gr.Tabs() as self.ways:
            with gr.Tab("Upload", id="upload"), gr.Column(elem_id="clip"):
                self.video = Upload(label=f"{label}, or an image", height=160)
                self.preview = gr.HTML(elem_id="preview")
            with gr.Tab("Record", id="record"):
                self.camera = gr.Video(label=label, sources=["webcam"], format=None, include_audio=False, height=340)
        self.example = gr.Button("Take the example clip", size="sm")
        self.model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
        self.heat_map = gr.Checkbox(value=True, label="Show what the answer rests on (takes a little longer)")
        with gr.Row():
            self.start = gr.Button("Analyse", variant="primary", scale=2, min_width=120)
            self.stop = gr.Button("Cancel", min_width=80)

    def _place_results(self) -> None:
        with gr.Row():
            self.fine = DecidedLabel(label="Expression over the whole clip", min_width=280, elem_id="fine")
            with gr.Column(scale=2, min_width=300):
                self.timeline = gr.HTML(label="Over time", show_label=True, container=True, elem_id="timeline")
        with gr.Accordion("Frame by frame, as a table", open=False):
            headers = [*TABLE_HEADERS]
            self.table = gr.Dataframe(
                headers=headers, label="Frames", interactive=False, max_height=360, elem_id="table"
            )
        with gr.Row():
            self.json_file = gr.DownloadButton("Download JSON", size="sm", min_width=120)
            self.csv_file = gr.DownloadButton("Download CSV", size="sm", min_width=120)


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
        answer = [page.fine, page.coarse, page.timeline, page.table]
        running = page.start.click(
            handlers.analyse,
            [page.video, page.model, page.heat_map],
            [page.overlay, page.summary, *answer, page.json_file, page.csv_file],
            api_name="analyse",
            show_progress_on=page.overlay,
            concurrency_limit=MAX_WAITING,
        )
        quiet = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        hidden = [page.face, page.beside, page.below]
        running.success(handlers.unveil, None, hidden, **quiet)
        page.stop.click(handlers.cancel, cancels=[running], **quiet)
        page.example.click(lambda: clip, None, page.video, **quiet)
        page.camera.stop_recording(
            lambda clip: (clip["path"], None, gr.Tabs(selected="upload")),
            page.camera,
            [page.video, page.camera, page.ways],
            preprocess=False,
            **quiet,
        )
        chosen = [page.video, page.preview, page.overlay, page.summary, *hidden]
        page.video.change(handlers.change_video, page.video, chosen, **quiet)
        page.face.input(handlers.choose_face, page.face, answer, **quiet)
        demo.unload(handlers.close)
    return demo.queue(max_size=MAX_WAITING, api_open=False)


def launch_options(limits: VideoLimits = LIMITS) -> dict[str, Any]:
    """What `launch` needs to know of the page."""
    looks = {"theme": THEME, "css": CSS, "head": f"<style>{TIMELINE_STYLE}</style>", "footer_links": ["api"]}
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
