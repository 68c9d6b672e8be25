"""Keep the page to files that were uploaded to it, and to what is to be seen of them."""

import html
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr
from gradio.utils import get_upload_folder
from starlette.responses import PlainTextResponse

from dfer_hf.checkpoints import shipped_folder
from dfer_hf.taxonomy import SEVEN_EMOTIONS

ERROR_SECONDS = 20


def example_clip() -> Path:
    """The portrait among the example clips."""
    return shipped_folder("examples") / "astronaut.webm"


def example_clips() -> dict[str, Path]:
    """What each example clip shows, and where it is; the portrait first."""
    folder = shipped_folder("examples")
    rendered = {f"{emotion}, rendered": folder / f"rendered_{emotion}.webm" for emotion in SEVEN_EMOTIONS}
    return {"portrait": example_clip()} | rendered


def refusal(message: str, name: str = "Error") -> gr.Error:
    """An error in plain words, escaped as it may hold the name of the file, with its own name as the title."""
    return gr.Error(html.escape(message, quote=False), duration=ERROR_SECONDS, title=name, print_exception=False)


class ClosedBlocks(gr.Blocks):
    """Blocks that are given uploads only: Gradio would fetch the file behind an address that a call names."""

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *args: Any, **kwargs: Any) -> Any:
        """Refuse other files before anything else is done with them."""
        inputs = as_uploads(inputs)
        folder, examples = Path(get_upload_folder()).resolve(), example_clips().values()
        for path in files_named_in(inputs):
            if not Path(path).resolve().is_relative_to(folder) and Path(path) not in examples:
                raise refusal("Upload the file: addresses and paths are not followed.", "NotAnUploadError")
        return await super().preprocess_data(block_fn, inputs, *args, **kwargs)


def as_uploads(value: Any) -> Any:
    """The data of a call, where addresses at which Gradio serves a file are the path of that file, however deep.

    Assistants name what they have uploaded by such an address. Whose it is does not matter, as nobody asks there.
    """
    if isinstance(value, dict):
        served = re.match(r"https?://[^/]+/(?:.*/)?gradio_api/file=(.+)", str(value.get("path")))
        named = {"path": unquote(served[1]), "url": None} if served else {}
        return {key: as_uploads(part) for key, part in value.items()} | named
    return [as_uploads(part) for part in value] if isinstance(value, list) else value


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
