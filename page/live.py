"""The tab that watches a camera: the browser sends a picture after the other, and each is answered at once."""

import html
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dfer_hf.analysis import AnalysisWorkers
from dfer_hf.live import MAX_BYTES
from dfer_hf.worker import JobCancelledError, JobLimits, JobRefusedError

LIGHTEST = "dfer-frame-resnet-small"
"""The checkpoint that is chosen when the page opens: the one that answers most pictures a second."""

WATCHING = JobLimits(wall_seconds=300.0, cpu_seconds=300.0, memory_bytes=1_000_000_000)
IDLE_SECONDS = 10.0
NAME = re.compile(r"[\w-]{16,64}")


class CameraError(Exception):
    """A picture that is not answered; `name` tells a program why."""

    def __init__(self, name: str, message: str, status: int) -> None:
        super().__init__(message)
        self.name, self.status = name, status


@dataclass
class _Camera:
    ask: Callable[[bytes], dict[str, Any]]
    model: str
    stack: ExitStack
    last_used: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


class LiveCameras:
    """The cameras that are watched, each by a process of its own; pictures are never written anywhere.

    Args:
        workers: What answers.
        most: Cameras at a time.
    """

    def __init__(self, workers: AnalysisWorkers, *, most: int = 1) -> None:
        self.workers, self.most = workers, most
        self.cameras: dict[str, _Camera] = {}
        self.lock = threading.Lock()

    def answer(self, name: str, model: str, picture: bytes) -> dict[str, Any]:
        """Answer the next picture of a camera, which is watched from its first picture on.

        Raises:
            CameraError: If the checkpoint is unknown, other cameras are watched, the picture is none, or this camera
                was watched for as long as one may be.
        """
        camera = self._camera(name, model)
        with camera.lock:
            camera.last_used = time.monotonic()
            try:
                return camera.ask(picture)
            except JobRefusedError as error:
                if error.name == JobRefusedError.__name__:
                    raise CameraError("NotAPictureError", str(error), 422) from error
                self.close(name)
                raise CameraError(
                    "CameraStoppedError",
                    f"A camera is watched for {WATCHING.wall_seconds / 60:g} minutes at most. Press Start to go on.",
                    410,
                ) from error
            except JobCancelledError as error:
                raise CameraError("CameraStoppedError", "The server stops. Come back later.", 410) from error

    def close(self, name: str) -> None:
        """Stop watching a camera, if it is watched."""
        with self.lock:
            camera = self.cameras.pop(name, None)
        if camera is not None:
            camera.stack.close()

    def keep_closing_idle(self) -> None:
        """Stop watching cameras that send nothing any more, for as long as the process lives."""
        while True:
            time.sleep(IDLE_SECONDS / 4)
            self.close_idle()

    def close_idle(self) -> None:
        """Stop watching cameras that have sent nothing for a while."""
        now = time.monotonic()
        for name, camera in list(self.cameras.items()):
            if now - camera.last_used > IDLE_SECONDS:
                self.close(name)

    def _camera(self, name: str, model: str) -> _Camera:
        if model not in self.workers.names:
            raise CameraError("UnknownModelError", f"Expected one of {', '.join(self.workers.names)}.", 404)
        if not self.most:
            raise CameraError("CameraBusyError", "This page watches no cameras. Record a clip instead.", 429)
        with self.lock:
            camera = self.cameras.get(name)
            if camera is not None and camera.model == model:
                return camera
            if camera is not None:
                self.cameras.pop(name).stack.close()
            if len(self.cameras) >= self.most:
                raise CameraError(
                    "CameraBusyError",
                    "Somebody else's camera is being watched, and this computer watches "
                    f"{self.most} at a time. Try again in a few minutes.",
                    429,
                )
            stack = ExitStack()
            camera = _Camera(stack.enter_context(self.workers.watch_camera(model, WATCHING)), model, stack)
            self.cameras[name] = camera
            return camera

    @property
    def routes(self) -> list[Route]:
        """What the browser asks: a POST with a picture is answered, and a DELETE stops."""
        return [Route("/live", self._answer_request, methods=["POST", "DELETE"])]

    async def _answer_request(self, request: Request) -> Response:
        name = request.query_params.get("camera", "")
        try:
            if not NAME.fullmatch(name):
                raise CameraError("CameraUnknownError", "Expected the name of a camera: 16 letters or more.", 422)
            if request.method == "DELETE":
                await run_in_threadpool(self.close, name)
                return Response(status_code=204)
            picture = b""
            async for part in request.stream():
                picture += part
                if len(picture) > MAX_BYTES:
                    raise CameraError("PictureTooLargeError", f"Expected at most {MAX_BYTES} bytes of a picture.", 413)
            model = request.query_params.get("model", "")
            return JSONResponse(await run_in_threadpool(self.answer, name, model, picture))
        except CameraError as error:
            return JSONResponse({"error": error.name, "message": str(error)}, status_code=error.status)


def live_html(names: list[str]) -> str:
    """What the tab shows before it is started; `live.js` does the rest."""
    options = "".join(f"<option{' selected' * (name == LIGHTEST)}>{html.escape(name)}</option>" for name in names)
    return f"""<div class="dfer-live">
<p>The pictures of your camera go to the computer that serves this page, are answered one by one, and stored nowhere.
</p>
<p><label>Model <select>{options}</select></label>
<button type="button" data-do="start">Start the camera</button>
<button type="button" data-do="stop" hidden>Stop</button></p>
<p class="sorry" role="alert"></p>
<div class="seen" hidden>
<div class="picture"><video muted playsinline></video><canvas aria-hidden="true"></canvas></div>
<div class="said"><p class="answer" role="status"></p><p class="group"></p><div class="bars"></div>
<p class="rate"></p></div></div>
</div>"""
