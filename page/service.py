"""The page as a service for programs: its endpoints, and its health."""

import json
from typing import Any

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from dfer_hf import __version__
from dfer_hf.checkpoints import shipped_checkpoints
from dfer_hf.explain import Target
from dfer_hf.explain_job import MAPS_NAME, explain_file

from .assistants import is_assistant, on_its_own
from .handlers import Handlers
from .layout import Layout
from .settings import Settings


def health_route(names: list[str]) -> Route:
    """Where whatever watches over the service asks whether it is well."""

    async def answer(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": __version__, "checkpoints": names})

    return Route("/health", answer)


def describe_models(names: list[str]) -> list[dict[str, Any]]:
    """What each checkpoint is: name, system, classes, and groups of them."""
    described = []
    for name, folder in shipped_checkpoints().items():
        if name in names:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            classes = [config["id2label"][key] for key in sorted(config["id2label"], key=int)]
            described.append(
                {
                    "name": name,
                    "system": config["model_type"],
                    "classes": classes,
                    "groups": config["groups"],
                    "is_default": name == names[0],
                }
            )
    return described


class Service:
    """What programs may ask for; each argument and result has one line, from which Gradio describes it."""

    def __init__(self, handlers: Handlers) -> None:
        self.handlers = handlers

    def models(self) -> list[dict[str, Any]]:
        """List the models that answer.

        Returns:
            models: for each its name, system, classes, groups of classes, and whether it is the default
        """
        return describe_models(self.handlers.workers.names)

    def analyse(
        self,
        video: str | None,
        model: str,
        heat_map: bool,
        language: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds the bar by this default
    ) -> tuple[Any, ...]:
        """Find the faces in a video or image, and read their expressions over the clip and frame by frame.

        Args:
            video: The video or image, uploaded before: addresses elsewhere and paths are not followed.
            model: Name of a model, as of /models.
            heat_map: Whether to find and draw what the answer rests on as well, which takes longer.
            language: One of en and de, of the words in overlay and report; JSON and CSV have the model's own labels.

        Returns:
            overlay: the video with faces and their expressions marked
            note: what was found, and what to mind, as HTML
            fine: the answer for the first face, and the probability of each expression
            coarse: the group of expressions that it belongs to, and the probability of each group
            timeline: what the first face shows over time, as HTML; empty for assistants
            table: a row for each frame of the first face; empty for assistants
            strip: the frames of the first face that counted most, as HTML; empty for assistants
            json: everything about every face
            csv: a row for each frame of every face
            report: everything as a page that stands alone
        """
        results = self.handlers.analyse(video, model, heat_map, language, on_its_own(request), progress)
        if not is_assistant(request):
            return results
        # Drawn for people, and long: an assistant finds it in the files.
        overlay, note, fine, coarse, _, _, _, *files = results
        return overlay, note, fine, coarse, None, None, None, *files

    def compare(
        self,
        video: str | None,
        models: list[str],
        language: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds the bar by this default
    ) -> tuple[Any, ...]:
        """Let several models answer a video or image, and say where they agree.

        Args:
            video: The video or image, uploaded before: addresses elsewhere and paths are not followed.
            models: Names of two models or more, as of /models.
            language: One of en and de, of the report; JSON has the models' own labels.

        Returns:
            answers: what each model says, its timelines, and for how long they agree, as HTML
            json: the same, frame by frame
            report: the same as a page that stands alone
        """
        return self.handlers.compare(video, models, language, on_its_own(request), progress)

    def explain(
        self,
        video: str | None,
        model: str,
        target: str,
        instead_of: str,
        method: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  gradio finds the bar by this default
    ) -> tuple[list[dict[str, Any]], str]:
        """Say what the answer to a video or image rests on, for each face in it.

        Args:
            video: The video or image, uploaded before: addresses elsewhere and paths are not followed.
            model: Name of a model, as of /models.
            target: Class or group to explain; empty for the answer.
            instead_of: Class or group that is not the target, for why the one and not the other; empty for all others.
            method: One of layercam, gradcam, attention, keypoints and masks; empty for the model's default.

        Returns:
            faces: for each its answer, the parts and movements that speak for it, and that in a sentence
            maps: heat maps of all faces as a NumPy archive
        """
        workers = self.handlers.workers
        with self.handlers.analysis(video, on_its_own(request)) as (folder, page):
            faces = workers.in_turn(
                explain_file,
                model,
                video or "",
                folder,
                Target(target or None, instead_of or None),
                method,
                video=video or "",
                on_progress=lambda share, doing: progress(share, desc=doing),
                cancelled=page.cancelled,
                share=2,
            )
        return faces, str(folder / MAPS_NAME)


def add_service(page: Layout, service: Service, settings: Settings) -> None:
    """Add the endpoints `/explain` and `/models`, which nothing on the page asks for, while it is being built."""
    hidden: dict[str, Any] = {"visible": False}
    words = [gr.Textbox("", label=name, **hidden) for name in ("Target", "Instead of", "Method")]
    explained, maps, models = gr.JSON(label="Faces", **hidden), gr.File(label="Maps", **hidden), gr.JSON(**hidden)
    gr.Button("Explain", **hidden).click(
        service.explain,
        [page.video, page.model, *words],
        [explained, maps],
        api_name="explain",
        concurrency_limit=settings.max_waiting,
    )
    gr.Button("Models", **hidden).click(service.models, None, models, api_name="models", queue=False)
