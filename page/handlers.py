"""What the page does when something is pressed."""

import html
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.utils import get_upload_folder

from dfer_hf.analysis import CSV_NAME, JSON_NAME, OVERLAY_NAME, REPORT_NAME, AnalysisWorkers, ShownFace
from dfer_hf.open_pages import OpenPages, Page
from dfer_hf.visualize import HEAT_MAP_NOTE
from dfer_hf.worker import JobCancelledError, JobRefusedError

from .guards import refusal

IMAGE = re.compile(r"\.(apng|avif|bmp|gif|heic|jpe?g|png|tiff?|webp)$", re.IGNORECASE)


def session_of(request: gr.Request) -> str:
    """Name of the page that asks; plain HTTP calls have no page and get a name of their own."""
    return request.session_hash or secrets.token_urlsafe()


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
        the clip, the timeline as HTML, a table with one row per frame, the frames that counted most as HTML, and
        everything as JSON, CSV and HTML files.
        """
        with self.analysis(video, request) as (folder, page):
            answer = self.workers.analyse(
                model,
                video or "",
                folder,
                heat_map=heat_map,
                on_progress=lambda share, doing: progress(share, desc=doing),
                cancelled=page.cancelled,
            )
        page.faces = {face.track_id: face for face in answer.faces}
        return (
            folder / OVERLAY_NAME,
            paragraphs(answer.summary + [HEAT_MAP_NOTE] * heat_map),
            *show(answer.faces[0]),
            folder / JSON_NAME,
            folder / CSV_NAME,
            folder / REPORT_NAME,
        )

    def compare(
        self,
        video: str | None,
        models: list[str],
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds the bar by this default
    ) -> tuple[Any, ...]:
        """Let several models answer a video or image.

        Returns their answers, timelines and agreement as HTML, and everything as JSON and HTML files.
        """
        with self.analysis(video, request) as (folder, page):
            answer = self.workers.compare(
                models,
                video or "",
                folder,
                on_progress=lambda share, doing: progress(share, desc=doing),
                cancelled=page.cancelled,
            )
        shown = f"<h2>What each model says</h2>{paragraphs(answer.summary)}{answer.html}"
        return shown, folder / JSON_NAME, folder / REPORT_NAME

    @contextmanager
    def analysis(self, video: str | None, request: gr.Request) -> Iterator[tuple[Path, Page]]:
        """A folder for what is made of a video, and the page; whatever goes wrong is said in plain words."""
        if video is None or not Path(video).is_file():
            raise refusal(
                "Choose a video or image first, or again if it was deleted after an hour: upload one, record one, "
                "or take the example clip.",
                "VideoMissingError",
            )
        session = session_of(request)
        self.pages.show(session, video)
        with self.pages.analysis(session) as (folder, page):
            try:
                yield folder, page
            except (JobRefusedError, JobCancelledError) as error:
                name = getattr(error, "name", type(error).__name__)
                raise refusal(str(error) or "The analysis was stopped.", name) from error

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
        forgotten = None, "", *hidden, "", "", gr.Row(visible=False)
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
    """Answer, group, timeline, table and strip of one face."""
    return (face.answer, face.fine), (face.group, face.coarse), face.timeline_html, face.table, face.strip_html


def paragraphs(notes: list[str]) -> str:
    """Sentences as HTML."""
    return "".join(f"<p>{html.escape(note)}</p>" for note in notes)
