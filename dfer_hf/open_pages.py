"""Remember what belongs to which open page, to delete it with the page."""

import os
import secrets
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from .shown_answer import ShownFace

# Seconds. An upload to which nothing was added for a minute has broken off.
DELETE_EVERY, DELETE_AGE, STALLED_AGE, LATE_AGE = 60.0, 3000.0, 60.0, 10.0


@dataclass(frozen=True)
class Answer:
    """What a page shows now: by which model, of what file, where its files lie, what it explains, and its language."""

    model: str
    video: Path
    folder: Path
    target: str = ""
    instead_of: str = ""
    language: str = "en"


@dataclass
class Page:
    """What one open page has on the disk, what it shows, and whether its analysis shall stop.

    Of several faces it shows the one that was chosen, or the first.
    """

    upload: Path | None = None
    folders: set[Path] = field(default_factory=set)
    faces: dict[int, ShownFace] = field(default_factory=dict)
    chosen: int | None = None
    answer: Answer | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    last_used: float = field(default_factory=time.time)

    @property
    def face(self) -> ShownFace | None:
        """The face that is shown, none before there is an answer."""
        first = next(iter(self.faces.values()), None)
        return first if self.chosen is None else self.faces.get(self.chosen, first)


class OpenPages:
    """The open pages by name.

    Args:
        folder: Where uploads and results lie; nothing else is ever deleted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.pages: dict[str, Page] = {}
        # Calls of a page may still be on their way when it closes.
        self.just_closed: dict[str, float] = {}
        self.lock = threading.Lock()

    def owns(self, path: str | Path) -> bool:
        """Whether a file was uploaded or made here."""
        return Path(path).resolve().is_relative_to(self.folder)

    def page(self, session: str) -> Page:
        """What is known of a page; nothing of one that is not open."""
        return self.pages.get(session, Page())

    def show(self, session: str, video: str | None) -> bool:
        """Note which video a page shows now; return whether it is another. The one before is given up."""
        with self.lock:
            page = self.pages.setdefault(session, Page())
            page.last_used = time.time()
            before, page.upload = page.upload, Path(video) if video else None
            if before == page.upload:
                return False
            page.cancelled.set()
            self._delete_unused(before)
            return True

    @contextmanager
    def analysis(self, session: str) -> Iterator[tuple[Path, Page]]:
        """A folder for the results of an analysis, gone when it fails, and the page, with what tells it to stop."""
        # The name is the only key to the files in it, so it must not be guessable.
        folder = self.folder / secrets.token_urlsafe(24)
        with self.lock:
            page = self.pages.setdefault(session, Page())
            page.cancelled = threading.Event()
            if time.time() - self.just_closed.get(session, 0.0) < LATE_AGE:
                page.cancelled.set()
            page.folders.add(folder)
        folder.mkdir(parents=True)
        with ExitStack() as failed:
            failed.callback(shutil.rmtree, folder, ignore_errors=True)
            yield folder, page
            failed.pop_all()

    def cancel(self, session: str) -> None:
        """Stop the analysis of a page, if one is running."""
        self.page(session).cancelled.set()

    def close(self, session: str) -> None:
        """Stop what is running and delete the files of a page that nobody looks at any more."""
        with self.lock:
            self.just_closed[session] = time.time()
            page = self.pages.pop(session, Page())
            page.cancelled.set()
            for folder in page.folders:
                shutil.rmtree(folder, ignore_errors=True)
            self._delete_unused(page.upload)

    def delete_old(self) -> None:
        """Delete what is older than promised, and uploads that broke off, which belong to no page."""
        now = time.time()
        for session in [name for name, closed in list(self.just_closed.items()) if closed < now - LATE_AGE]:
            del self.just_closed[session]
        for session in [name for name, page in list(self.pages.items()) if page.last_used < now - DELETE_AGE]:
            self.close(session)
        for folder, _, names in os.walk(self.folder, topdown=False):
            inside = Path(folder) != self.folder
            oldest = now - (DELETE_AGE if inside else STALLED_AGE)
            for path in [*map(Path(folder).joinpath, names), *[Path(folder)] * inside]:
                # Gone already, or a folder with something in it.
                with suppress(OSError):
                    if path.stat().st_mtime < oldest:
                        path.rmdir() if path.is_dir() else path.unlink()

    def keep_deleting_old(self) -> None:
        """Delete what is old for as long as the process lives."""
        while True:
            time.sleep(DELETE_EVERY)
            self.delete_old()

    def _delete_unused(self, upload: Path | None) -> None:
        """Delete an upload that no other page shows, with its folder: equal files share one place."""
        shown = any(page.upload == upload for page in self.pages.values())
        if upload is not None and self.owns(upload) and not shown:
            upload.unlink(missing_ok=True)
            with suppress(OSError):
                upload.parent.rmdir()
