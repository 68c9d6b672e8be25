"""The parts of the page, placed where they are made."""

from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from dfer_hf.analysis import OVERLAY_ID, PREVIEW_ID
from dfer_hf.language import LANGUAGES
from dfer_hf.video import VideoLimits
from dfer_hf.visualize import TABLE_HEADERS

from .about import about_html
from .faces import CHOOSE
from .guards import example_clips
from .languages import LANGUAGE_PICKER
from .live import live_html
from .player import file_url

EXAMPLES = """**Example clips** The portrait is a photograph in the public domain whose smile fades and returns. The
others are rendered: each shows one expression as textbooks describe it, which the models may call another."""

NO_ANSWER = "<p>Choose a video or an image, and press Analyse.</p>"
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


class Layout:
    """The parts of the page: a clip on top, and what may be done with it in tabs below."""

    def __init__(self, names: list[str], limits: VideoLimits, *, has_live: bool) -> None:
        gr.HTML(LANGUAGE_PICKER, elem_id="language")
        # Filled by the browser where one asks, and by programs.
        self.language = gr.Dropdown([*LANGUAGES], value="en", label="Language", visible=False)
        gr.Markdown(INTRODUCTION)
        gr.Markdown(NOTICE, elem_id="notice")
        self._place_clip(limits)
        with gr.Tabs():
            with gr.Tab("Analyse", id="analyse"):
                self._place_analysis(names)
            with gr.Tab("Compare", id="compare", visible=len(names) > 1):
                self._place_comparison(names)
            with gr.Tab("Live", id="live", visible=has_live):
                gr.HTML(live_html(names), apply_default_css=False)
            with gr.Tab("About", id="about"):
                gr.HTML(about_html(names), elem_id="about")

    def _place_clip(self, limits: VideoLimits) -> None:
        label = f"Your video, up to {limits.max_seconds:g} seconds" if limits.max_seconds else "Your video"
        with gr.Row(elem_id="clip"):
            with gr.Column(min_width=300), gr.Tabs() as self.ways:
                with gr.Tab("Upload", id="upload"):
                    self.video = Upload(label=f"{label}, or an image", height=160)
                with gr.Tab("Record", id="record"):
                    self.camera = gr.Video(
                        label=label, sources=["webcam"], format=None, include_audio=False, height=340
                    )
            with gr.Column(min_width=300):
                self.preview = gr.HTML(elem_id=PREVIEW_ID)
        gr.Markdown(EXAMPLES)
        self.examples = {}
        with gr.Row(elem_id="examples"):
            for name, path in example_clips().items():
                picture = path.with_suffix(".jpg")
                # Gradio's copy of a picture would be as old as the picture, and so be deleted like old uploads.
                served: Any = {"path": str(picture), "url": file_url(picture)}
                self.examples[path] = gr.Button(name, size="sm", icon=served, min_width=90)

    def _place_analysis(self, names: list[str]) -> None:
        with gr.Row():
            with gr.Column(min_width=300):
                self.model = gr.Dropdown(names, value=names[0], label="Model", visible=len(names) > 1)
                self.heat_map = gr.Checkbox(value=True, label="Show what the answer rests on (takes a little longer)")
                with gr.Row():
                    self.start = gr.Button("Analyse", variant="primary", scale=2, min_width=120)
                    self.stop = gr.Button("Cancel", min_width=80)
                self.stale = gr.HTML(elem_id="stale")
                self.face = gr.HTML(visible=False, elem_id="faces", js_on_load=CHOOSE)
                with gr.Column(visible=False) as self.beside:
                    self.fine = DecidedLabel(label="Expression over the whole clip", elem_id="fine")
                    self.coarse = DecidedLabel(label="Group of expressions", elem_id="coarse")
                self.summary = gr.HTML(label="Note", elem_id="summary")
            with gr.Column(min_width=300, scale=2):
                self.player = gr.HTML(
                    NO_ANSWER,
                    label="Faces and expressions",
                    show_label=True,
                    container=True,
                    elem_id=OVERLAY_ID,
                    apply_default_css=False,
                )
                self.timeline = gr.HTML(
                    label="Over time: click or drag", show_label=True, container=True, elem_id="timeline"
                )
        with gr.Column(visible=False) as self.below:
            with gr.Column(elem_id="why"):
                with gr.Row():
                    self.targets = gr.HTML(elem_id="targets")
                    # What is chosen there, filled by the browser.
                    self.target = gr.Textbox("", label="Target", visible=False)
                    self.instead_of = gr.Textbox("", label="Instead of", visible=False)
                    self.explain = gr.Button("Explain", min_width=100, scale=0)
                self.why = gr.HTML(elem_id="explained", padding=True)
            self.strip = gr.HTML(
                label="The frames that counted most",
                show_label=True,
                container=True,
                elem_id="strip",
                apply_default_css=False,
            )
            with gr.Accordion("Frame by frame, as a table", open=False):
                self.table = gr.Dataframe(
                    headers=[*TABLE_HEADERS], label="Frames", interactive=False, max_height=360, elem_id="table"
                )
            with gr.Row():
                self.overlay_file = gr.DownloadButton("Download video", size="sm", min_width=120)
                self.report_file = gr.DownloadButton("Download report", size="sm", min_width=120)
                self.json_file = gr.DownloadButton("Download JSON", size="sm", min_width=120)
                self.csv_file = gr.DownloadButton("Download CSV", size="sm", min_width=120)

    def _place_comparison(self, names: list[str]) -> None:
        self.models = gr.CheckboxGroup(names, value=names, label="Models")
        with gr.Row():
            self.start_comparison = gr.Button("Compare", variant="primary", scale=2, min_width=120)
            self.stop_comparison = gr.Button("Cancel", min_width=80)
        self.comparison = gr.HTML(elem_id="comparison", apply_default_css=False)
        with gr.Row(visible=False) as self.below_comparison:
            self.comparison_report = gr.DownloadButton("Download report", size="sm", min_width=120)
            self.comparison_json = gr.DownloadButton("Download JSON", size="sm", min_width=120)
