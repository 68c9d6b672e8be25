"""The endpoints as tools for assistants, over the Model Context Protocol."""

import html
import importlib.util
import json
import re
from typing import Any

import gradio as gr
from gradio import mcp
from gradio.utils import get_upload_folder
from gradio_client.exceptions import AppError
from pydantic import BaseModel


def offer_tools() -> bool:
    """Let Gradio offer the endpoints as tools where the protocol's package is installed; return whether it is."""
    if importlib.util.find_spec("mcp") is None:
        return False
    # Gradio has no setting for either. Its own folder is not among those that are emptied.
    mcp.GradioMCPServer, mcp.DEFAULT_TEMP_DIR = Tools, get_upload_folder()
    return True


def is_assistant(request: gr.Request) -> bool:
    """Whether a call comes from a tool."""
    return dict(request.headers).get("x-gradio-user") == "mcp"


def on_its_own(request: gr.Request) -> gr.Request:
    """The request, and an assistant's without its session.

    All tools share one, where the next file would take the place of the last.
    """
    if not is_assistant(request):
        return request
    return gr.Request(request.request, request.username, None, **request.kwargs)


class Tools(mcp.GradioMCPServer):
    """Gradio's tools, whose answers are text that an assistant can read, and whose errors have names."""

    async def _execute_tool_without_progress(self, job: Any) -> list[Any]:
        """Results one by one, where Gradio has them in one piece, and the name of an error before what it says."""
        try:
            (result,) = await super()._execute_tool_without_progress(job)
        except AppError as error:
            raise RuntimeError(f"{error.title}: {error}") from error
        return list(result) if isinstance(result, tuple) else [result]

    def postprocess_output_data(self, data: Any, root_url: str) -> list[Any]:
        """Addresses of files, JSON, and what HTML says; nothing of what is empty."""
        texts = [as_text(output) for output in data]
        return super().postprocess_output_data([text for text in texts if text], root_url)


def as_text(output: Any) -> Any:
    """A result as JSON, or as what its HTML says; files as they are."""
    output = output.model_dump() if isinstance(output, BaseModel) else output
    if isinstance(output, str):
        return " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]*>", " ", output, flags=re.DOTALL)).split())
    if isinstance(output, dict) and "meta" in output:
        return output
    is_empty = not output or (isinstance(output, dict) and output.get("data") == [])
    return None if is_empty else json.dumps(output, ensure_ascii=False)
