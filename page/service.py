"""The page as a service for programs: more endpoints, its health, and tools for assistants."""

import importlib.util
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

from .handlers import Handlers
from .layout import Layout
from .settings import Settings


def has_mcp() -> bool:
    """Whether the endpoints can be offered as tools of the Model Context Protocol, which needs its package."""
    return importlib.util.find_spec("mcp") is not None


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
    """What programs may ask for beside what the page shows."""

    def __init__(self, handlers: Handlers) -> None:
        self.handlers = handlers

    def models(self) -> list[dict[str, Any]]:
        """List the models that answer: name, system, classes, and groups of classes."""
        return describe_models(self.handlers.workers.names)

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
            video: The video or image, uploaded before.
            model: Name of a model, as of /models.
            target: Class or group to explain; empty for the answer.
            instead_of: Class or group that is not the target, for why the one and not the other; empty for all others.
            method: layercam, gradcam, attention, keypoints or masks; empty for the model's default.

        Returns:
            For each face its answer, the parts and movements that speak for it, and that in a sentence; and the heat
            maps as a NumPy archive.
        """
        workers = self.handlers.workers
        with self.handlers.analysis(video, request) as (folder, page):
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


def add_service(page: Layout, handlers: Handlers, settings: Settings) -> None:
    """Add the endpoints `/explain` and `/models` to a page that is being built."""
    service = Service(handlers)
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
