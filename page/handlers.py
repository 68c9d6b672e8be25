"""What the page does when something is pressed."""

import html
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from dfer_hf.analysis import CSV_NAME, JSON_NAME, OVERLAY_NAME, PLAIN_NAME, REPORT_NAME, AnalysisWorkers
from dfer_hf.open_pages import Answer, OpenPages, Page
from dfer_hf.shown_answer import ShownAnswer, ShownFace
from dfer_hf.visualize import HEAT_MAP_NOTE
from dfer_hf.worker import JobCancelledError, JobRefusedError

from .faces import faces_html
from .guards import refusal
from .layout import NO_ANSWER
from .player import player_html, preview_html
from .targets import targets_html

GONE = "The answer was deleted. Analyse the video again."


def session_of(request: gr.Request) -> str:
    """Name of the page that asks; plain HTTP calls have no page and get a name of their own."""
    return request.session_hash or secrets.token_urlsafe()


class Handlers:
    """What the page does when something is pressed."""

    def __init__(self, workers: AnalysisWorkers) -> None:
        self.workers, self.pages = workers, OpenPages(Path(get_upload_folder()))

    def analyse(
        self, video: str | None, model: str, heat_map: bool, language: str, request: gr.Request, progress: gr.Progress
    ) -> tuple[Any, ...]:
        """Find the faces in a video or image and read their expressions; `Service.analyse` says what is returned."""
        asked = Answer(model, Path(video or ""), Path(), language=language)
        shown, answer = self._answer(video, asked, request, progress, heat_map=heat_map)
        return shown.folder / OVERLAY_NAME, *self._results(shown, answer, request)

    def explain(
        self,
        target: str | None,
        instead_of: str | None,
        language: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds the bar by this default
    ) -> tuple[Any, ...]:
        """Explain the answer again, for another class or group, or for why one and not another."""
        page = self.pages.page(session_of(request))
        before, chosen = page.answer, page.face
        if before is None or chosen is None:
            raise refusal(GONE)
        # Why the answer and not another, where only the other is named.
        target = target or (chosen.label if instead_of else "")
        asked = replace(before, target=target, instead_of=instead_of or "", language=language)
        shown, answer = self._answer(str(before.video), asked, request, progress, heat_map=True)
        return shown.folder / OVERLAY_NAME, *self._results(shown, answer, request)

    def _answer(
        self, video: str | None, asked: Answer, request: gr.Request, progress: gr.Progress, *, heat_map: bool
    ) -> tuple[Answer, ShownAnswer]:
        """Analyse a file, and note what the page shows from now on."""
        with self.analysis(video, request) as (folder, page):
            answer = self.workers.analyse(
                asked.model,
                asked.video,
                folder,
                heat_map=heat_map,
                on_progress=lambda share, doing: progress(share, desc=doing),
                cancelled=page.cancelled,
                target=asked.target,
                instead_of=asked.instead_of,
                language=asked.language,
            )
        page.faces = {face.track_id: face for face in answer.faces}
        page.answer = replace(asked, folder=folder)
        return page.answer, answer

    def _results(self, shown: Answer, answer: ShownAnswer, request: gr.Request) -> tuple[Any, ...]:
        """What follows the overlay: the note, a face, and the files."""
        face = self.pages.page(session_of(request)).face or answer.faces[0]
        is_explained = any(other.explained for other in answer.faces)
        note = paragraphs(answer.summary + [HEAT_MAP_NOTE] * is_explained)
        files = (shown.folder / name for name in (JSON_NAME, CSV_NAME, REPORT_NAME))
        return note, *show(face), *files

    def compare(
        self, video: str | None, models: list[str], language: str, request: gr.Request, progress: gr.Progress
    ) -> tuple[Any, ...]:
        """Let several models answer a video or image; `Service.compare` says what is returned."""
        with self.analysis(video, request) as (folder, page):
            answer = self.workers.compare(
                models,
                video or "",
                folder,
                on_progress=lambda share, doing: progress(share, desc=doing),
                cancelled=page.cancelled,
                language=language,
            )
        shown = f"<h2>What each model says</h2>{paragraphs(answer.summary)}{answer.html}"
        return shown, folder / JSON_NAME, folder / REPORT_NAME

    @contextmanager
    def analysis(self, video: str | None, request: gr.Request) -> Iterator[tuple[Path, Page]]:
        """A folder for what is made of a video, and the page; whatever goes wrong is said in plain words."""
        if video is None or not Path(video).is_file():
            raise refusal(
                "Choose a video or image first, or again if it was deleted meanwhile: upload one, record one, or take "
                "an example clip.",
                "VideoMissingError",
            )
        session = session_of(request)
        self.pages.show(session, video, is_open=bool(request.session_hash))
        with self.pages.analysis(session) as (folder, page):
            try:
                yield folder, page
            except (JobRefusedError, JobCancelledError) as error:
                name = getattr(error, "name", type(error).__name__)
                raise refusal(str(error) or "The analysis was stopped.", name) from error

    def choose_face(self, event: gr.EventData, request: gr.Request) -> tuple[Any, ...]:
        """Show another face, and what speaks for its answer."""
        page = self.pages.page(session_of(request))
        if event.track_id not in page.faces:
            raise refusal(GONE)
        page.chosen = event.track_id
        face = page.faces[event.track_id]
        return *show(face), why_html(face)

    def unveil(self, request: gr.Request) -> tuple[Any, ...]:
        """Show the answer's place and video, what else may be explained, and the choice of several faces.

        Where the face that was chosen is still there, it stays chosen.
        """
        page = self.pages.page(session_of(request))
        answer, chosen, faces = page.answer, page.face, page.faces.values()
        if answer is None or chosen is None:
            raise refusal(GONE)
        plain = answer.folder / PLAIN_NAME
        player = player_html(
            answer.folder / OVERLAY_NAME,
            original=answer.video,
            plain=plain if plain.is_file() else None,
            said=f"Your video with faces marked. {'. '.join(face.description for face in faces)}",
        )
        return (
            gr.HTML(faces_html(faces, chosen=chosen.track_id), visible=len(faces) > 1),
            gr.Column(visible=True),
            gr.Column(visible=True),
            player,
            why_html(chosen),
            targets_html(chosen.fine, chosen.coarse, target=answer.target, instead_of=answer.instead_of),
            "",
        )

    def choose_model(self, model: str, request: gr.Request) -> str:
        """Say that the answer which is shown is another model's."""
        answer = self.pages.page(session_of(request)).answer
        if answer is None or answer.model == model:
            return ""
        return paragraphs([f"The answer below is from {answer.model}. Press Analyse for one from {model}."])

    def change_video(self, video: str | None, request: gr.Request) -> Any:
        """Look at a new video, refuse it here where it is bad, and forget the answer to the one before."""
        session = session_of(request)
        if not self.pages.show(session, video):
            return gr.skip()
        page = self.pages.page(session)
        page.faces, page.chosen, page.answer = {}, None, None
        hidden = gr.HTML("", visible=False), gr.Column(visible=False), gr.Column(visible=False)
        forgotten = NO_ANSWER, "", "", *hidden, "", "", gr.Row(visible=False)
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


def why_html(face: ShownFace) -> str:
    """What speaks for what was explained, in words."""
    return paragraphs(face.explained or ["Nothing was explained yet: press Explain."])


def paragraphs(notes: list[str]) -> str:
    """Sentences as HTML."""
    return "".join(f"<p>{html.escape(note)}</p>" for note in notes)
