"""The page: a video goes in; the same video with faces marked, the answer and its timeline come out.

python app.py [--port 7860] [--max-seconds 120] [--max-megabytes 100]
"""

import argparse
import html
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from dfer_hf import ClipPrediction, VideoPredictor, shipped_checkpoints
from dfer_hf.checkpoints import DEFAULT_CHECKPOINT, shipped_folder
from dfer_hf.faces import NoFaceFoundError
from dfer_hf.video import VideoError, VideoLimits
from dfer_hf.visualize import (
    TABLE_HEADERS,
    describe_face,
    summarise,
    table_rows,
    timeline_html,
    write_overlay,
)

MAX_SECONDS, MAX_MEGABYTES = 120.0, 100.0
LIMITS = VideoLimits(max_seconds=MAX_SECONDS, max_bytes=int(MAX_MEGABYTES * 1e6))
OVERLAY_SIDE = 720
OVERLAY_NAME, JSON_NAME, CSV_NAME = "overlay.webm", "prediction.json", "prediction.csv"
QUEUE_LENGTH, ERROR_SECONDS = 10, 20
# Looked at every ten minutes, deleted when fifty minutes old: never older than an hour.
DELETE_EVERY_SECONDS, DELETE_AGE_SECONDS = 600, 3000

TITLE = "Facial expressions in video"

INTRODUCTION = f"""# {TITLE}
Finds the faces in a short video, says which expression each one shows moment by moment, and marks what the answer
rests on.
"""

NOTICE = """**An expression is not an emotion.** This page describes what a face looks like; it cannot know what a
person feels, and it is often wrong. Upload only people who agreed to it. In the European Union it is forbidden to use
such a system to infer emotions at work or in education, except for medical or safety reasons
(AI Act, Article 5(1)(f)).

**Your video** is processed by the computer that serves this page and by no other. Video and results are deleted when
you close the page, and after an hour at the latest. Until then, whoever has the address of a file can open it.
"""

HEAT_MAP_NOTE = "Yellow marks what the answer rests on most, green what it rests on less."

CSS = """
.gradio-container { max-width: 1120px !important; margin: 0 auto !important; }
#notice { border-left: 4px solid #e69f00; padding: 10px 16px; background: var(--background-fill-secondary);
  border-radius: 4px; }
#notice p { margin: 0; font-size: .92rem; line-height: 1.45; }
#notice p + p { margin-top: 8px; }
#summary p { margin: 4px 0; }
#clip video { max-height: 290px; }
#timeline .dfer-timeline { padding-top: 26px; }
footer { opacity: .7; }
"""

THEME = gr.themes.Default(
    primary_hue=gr.themes.colors.teal,
    secondary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.slate,
    font=["system-ui", "sans-serif"],
    font_mono=["system-ui", "sans-serif"],
).set(button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_600")


class AnalysisCancelledError(Exception):
    """The person pressed Cancel, or closed the page."""


@dataclass
class Page:
    """What one open page has on the disk, and whether its analysis shall stop."""

    upload: Path | None = None
    folders: set[Path] = field(default_factory=set)
    cancelled: threading.Event = field(default_factory=threading.Event)


class OpenPages:
    """Remembers which files belong to which open page, to delete them with it."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.lock = threading.Lock()

    def show(self, session: str, video: str | None) -> bool:
        """Note which video a page shows now; return whether it is another. The one before is given up."""
        with self.lock:
            page = self.pages.setdefault(session, Page())
            before, page.upload = page.upload, Path(video) if video else None
            if before == page.upload:
                return False
            page.cancelled.set()
            self._delete_unused(before)
            return True

    def start(self, session: str, folder: Path) -> threading.Event:
        """Note the folder of an analysis that starts; return what tells it to stop."""
        with self.lock:
            page = self.pages.setdefault(session, Page())
            page.folders.add(folder)
            page.cancelled = threading.Event()
            return page.cancelled

    def cancel(self, session: str) -> None:
        """Stop the analysis of a page, if one is running."""
        with self.lock:
            if session in self.pages:
                self.pages[session].cancelled.set()

    def close(self, session: str) -> None:
        """Stop what is running and delete the files of a page that nobody looks at any more."""
        with self.lock:
            page = self.pages.pop(session, Page())
            page.cancelled.set()
            for folder in page.folders:
                shutil.rmtree(folder, ignore_errors=True)
            self._delete_unused(page.upload)

    def _delete_unused(self, upload: Path | None) -> None:
        """Delete an upload that no other page shows: equal files share one place."""
        if upload is None or any(page.upload == upload for page in self.pages.values()):
            return
        if upload.resolve().is_relative_to(Path(get_upload_folder()).resolve()):
            upload.unlink(missing_ok=True)


def example_clip() -> Path:
    """The example clip."""
    return shipped_folder("examples") / "astronaut.webm"


def analyse_clip(
    predictor: VideoPredictor,
    video: str,
    folder: Path,
    *,
    heat_map: bool,
    limits: VideoLimits,
    report: Callable[[float, str], None],
) -> ClipPrediction:
    """Analyse a clip and write overlay, JSON and CSV into `folder`.

    Raises:
        gr.Error: If the file cannot be used, in words for the page.
    """

    def reading(share: float) -> None:
        report(0.6 * share, "Reading the expressions")

    def drawing(share: float) -> None:
        report(0.6 + 0.4 * share, "Drawing the answer")

    overlay = folder / OVERLAY_NAME
    try:
        prediction = predictor(video, explain=heat_map, limits=limits, progress=reading)
        write_overlay(video, prediction, overlay, max_side=OVERLAY_SIDE, limits=limits, progress=drawing)
    except (VideoError, NoFaceFoundError) as error:
        raise refusal(str(error)) from error
    except AnalysisCancelledError as error:
        raise refusal("The analysis was stopped.") from error
    (folder / JSON_NAME).write_text(prediction.to_json(), encoding="utf-8")
    (folder / CSV_NAME).write_bytes(prediction.to_csv().encode())
    return prediction


def refusal(message: str) -> gr.Error:
    """An error in plain words, escaped as it may hold the name of the file."""
    return gr.Error(html.escape(message, quote=False), duration=ERROR_SECONDS, print_exception=False)


def session_of(request: gr.Request) -> str:
    """Name of the page that asks; plain HTTP calls have no page and get a name of their own."""
    return request.session_hash or secrets.token_urlsafe()


@dataclass(frozen=True)
class ShownFace:
    """What the page shows of one face."""

    description: str
    fine: dict[str, float]
    coarse: dict[str, float]
    timeline: str
    table: list[list[str]]


class Handlers:
    """What the page does when something is pressed."""

    def __init__(self, predictors: Mapping[str, VideoPredictor], limits: VideoLimits) -> None:
        self.predictors, self.limits, self.pages = predictors, limits, OpenPages()

    def analyse(
        self,
        video: str | None,
        model: str,
        heat_map: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds the bar by this default
    ) -> tuple[Any, ...]:
        """Find the faces in a video or image and read their expressions.

        Returns the video with faces marked, a note, the probabilities of expressions and of their groups over the
        clip, the timeline as HTML, a table with one row per frame, and everything as JSON and CSV files.
        """
        if video is None:
            raise refusal("Choose a video first: upload one, record one, or take the example clip.")
        session = session_of(request)
        self.pages.show(session, video)
        # The name is the only key to the files in it, so it must not be guessable.
        folder = Path(get_upload_folder()) / secrets.token_urlsafe(24)
        cancelled = self.pages.start(session, folder)

        def report(share: float, description: str) -> None:
            if cancelled.is_set():
                raise AnalysisCancelledError
            progress(share, desc=description)

        with ExitStack() as cleanup:
            folder.mkdir(parents=True)
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            predictor = self.predictors[model]
            settings = {"heat_map": heat_map, "limits": self.limits}
            prediction = analyse_clip(predictor, video, folder, report=report, **settings)
            cleanup.pop_all()
        shown = {
            face.track_id: ShownFace(
                describe_face(face),
                dict(face.fine.probabilities),
                dict(face.coarse.probabilities),
                timeline_html(face, groups=predictor.groups, duration_seconds=prediction.duration_seconds),
                table_rows(face),
            )
            for face in prediction.faces
        }
        return (
            folder / OVERLAY_NAME,
            html.escape("\n\n".join(summarise(prediction) + [HEAT_MAP_NOTE] * heat_map)),
            *self.show_face(shown, prediction.faces[0].track_id),
            folder / JSON_NAME,
            folder / CSV_NAME,
            shown,
        )

    def show_face(self, shown: dict[int, ShownFace] | None, track_id: int) -> tuple[Any, ...]:
        """Answer, group, timeline and table of one face."""
        if shown is None:
            raise refusal("The answer was deleted, as it is an hour old. Analyse the video again.")
        face = shown[track_id]
        return face.fine, face.coarse, face.timeline, face.table

    def unveil(self, shown: dict[int, ShownFace]) -> tuple[Any, ...]:
        """Show the answer's place, and the choice of faces where there are several."""
        choices = [(face.description, track_id) for track_id, face in shown.items()]
        face = gr.Radio(choices, value=choices[0][1], visible=len(choices) > 1)
        return face, gr.Column(visible=True), gr.Column(visible=True)

    def change_video(self, video: str | None, request: gr.Request) -> Any:
        """Forget the answer to the video before."""
        if not self.pages.show(session_of(request), video):
            return gr.skip()
        return None, "", None, gr.Radio(visible=False), gr.Column(visible=False), gr.Column(visible=False)

    def cancel(self, request: gr.Request) -> None:
        """Stop the analysis of this page."""
        self.pages.cancel(session_of(request))

    def close(self, request: gr.Request) -> None:
        """Delete what belongs to this page."""
        self.pages.close(session_of(request))


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
                self.summary = gr.Markdown(label="Note", elem_id="summary")
                self.face = gr.Radio([], label="Which face", visible=False)
                with gr.Column(visible=False) as self.beside:
                    self.coarse = gr.Label(label="Group of expressions", elem_id="coarse")
        with gr.Column(visible=False) as self.below:
            self._place_results()

    def _place_inputs(self, names: list[str], limits: VideoLimits) -> None:
        label = f"Your video, up to {limits.max_seconds:g} seconds" if limits.max_seconds else "Your video"
        self.video = gr.Video(
            label=label, sources=["upload", "webcam"], format=None, height=340, elem_id="clip"
        )
        self.example = gr.Button("Take the example clip", size="sm")
        self.model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
        self.heat_map = gr.Checkbox(value=True, label="Show what the answer rests on (takes twice as long)")
        with gr.Row():
            self.start = gr.Button("Analyse", variant="primary", scale=2, min_width=120)
            self.stop = gr.Button("Cancel", min_width=80)

    def _place_results(self) -> None:
        with gr.Row():
            self.fine = gr.Label(label="Expression over the whole clip", min_width=280, elem_id="fine")
            with gr.Column(scale=2, min_width=300):
                self.timeline = gr.HTML(
                    label="Over time", show_label=True, container=True, elem_id="timeline"
                )
        with gr.Accordion("Frame by frame, as a table", open=False):
            headers = [*TABLE_HEADERS]
            self.table = gr.Dataframe(headers=headers, label="Frames", interactive=False, max_height=360)
        with gr.Row():
            self.json_file = gr.DownloadButton("Download JSON", size="sm", min_width=120)
            self.csv_file = gr.DownloadButton("Download CSV", size="sm", min_width=120)


def build_demo(predictors: Mapping[str, VideoPredictor], *, limits: VideoLimits = LIMITS) -> gr.Blocks:
    """Build the page.

    Args:
        predictors: Name to predictor; the first is chosen when the page opens.
        limits: What to refuse.
    """
    handlers = Handlers(predictors, limits)
    clip = example_clip()
    gr.set_static_paths([clip])
    delete_cache = (DELETE_EVERY_SECONDS, DELETE_AGE_SECONDS)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=delete_cache) as demo:
        page = Layout(list(predictors), limits)
        shown = gr.State(None, time_to_live=DELETE_AGE_SECONDS)
        answer = [page.fine, page.coarse, page.timeline, page.table]
        running = page.start.click(
            handlers.analyse,
            [page.video, page.model, page.heat_map],
            [page.overlay, page.summary, *answer, page.json_file, page.csv_file, shown],
            api_name="analyse",
            show_progress_on=page.overlay,
            concurrency_limit=1,
        )
        quiet = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
        unveiled = [page.face, page.beside, page.below]
        running.success(handlers.unveil, shown, unveiled, **quiet)
        page.stop.click(handlers.cancel, cancels=[running], **quiet)
        page.example.click(lambda: clip, None, page.video, **quiet)
        page.video.change(
            handlers.change_video, page.video, [page.overlay, page.summary, shown, *unveiled], **quiet
        )
        page.face.input(handlers.show_face, [shown, page.face], answer, **quiet)
        demo.unload(handlers.close)
    return demo.queue(max_size=QUEUE_LENGTH)


def launch_options(limits: VideoLimits = LIMITS) -> dict[str, Any]:
    """What `launch` needs to know of the page."""
    looks = {"theme": THEME, "css": CSS, "footer_links": ["api"]}
    return {**looks, "max_file_size": limits.max_bytes, "share": False, "ssr_mode": False}


def main() -> None:
    """Show the page until stopped."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, help="the first free one from 7860 when left out")
    parser.add_argument("--max-seconds", type=float, default=MAX_SECONDS, help="longest video")
    parser.add_argument("--max-megabytes", type=float, default=MAX_MEGABYTES, help="largest file")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    arguments = parser.parse_args()
    limits = replace(LIMITS, max_seconds=arguments.max_seconds, max_bytes=int(arguments.max_megabytes * 1e6))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # or nothing would be deleted
    with tempfile.TemporaryDirectory(prefix="dfer-app-") as cache:
        os.environ.setdefault("GRADIO_TEMP_DIR", cache)
        names = sorted(shipped_checkpoints(), key=lambda name: (name != DEFAULT_CHECKPOINT, name))
        demo = build_demo({name: VideoPredictor.from_pretrained(name) for name in names}, limits=limits)
        name = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
        demo.launch(
            server_name=name, server_port=arguments.port, inbrowser=arguments.open, **launch_options(limits)
        )


if __name__ == "__main__":
    main()
