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
# Of what no page shows: programs ask again for the same upload, as for why after what, and fetch the files.
UNSHOWN_AGE = 540.0


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

    Of several faces it shows the one that was chosen, or the first. A call that comes from no page has one for itself,
    which is never closed.
    """

    upload: Path | None = None
    folders: set[Path] = field(default_factory=set)
    faces: dict[int, ShownFace] = field(default_factory=dict)
    chosen: int | None = None
    answer: Answer | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    last_used: float = field(default_factory=time.time)
    is_open: bool = True
    num_running: int = 0

    @property
    def face(self) -> ShownFace | None:
        """The face that is shown, none before there is an answer."""
        first = next(iter(self.faces.values()), None)
        return first if self.chosen is None else self.faces.get(self.chosen, first)

    @property
    def places(self) -> set[Path]:
        """Folders that its files are in."""
        return self.folders | ({self.upload.parent.resolve()} if self.upload else set())

    @property
    def age(self) -> float:
        """Seconds after its last use that it is given up."""
        return DELETE_AGE if self.is_open or self.num_running else UNSHOWN_AGE


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

    def show(self, session: str, video: str | None, *, is_open: bool = True) -> bool:
        """Note which video a page shows now; return whether it is another. The one before is given up.

        Args:
            session: Name of the page.
            video: The upload.
            is_open: Whether there is a page that will be closed.
        """
        with self.lock:
            page = self.pages.setdefault(session, Page())
            page.last_used, page.is_open = time.time(), is_open
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
            page.num_running += 1
        folder.mkdir(parents=True)
        with ExitStack() as ended, ExitStack() as failed:
            ended.callback(self._end, page)
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
        for session in [name for name, page in list(self.pages.items()) if page.last_used < now - page.age]:
            self.close(session)
        with self.lock:
            shown = {place for page in self.pages.values() for place in page.places}
        for folder, _, names in os.walk(self.folder, topdown=False):
            inside = Path(folder) != self.folder
            is_shown = not shown.isdisjoint([Path(folder), *Path(folder).parents])
            oldest = now - (STALLED_AGE if not inside else DELETE_AGE if is_shown else UNSHOWN_AGE)
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

    def _end(self, page: Page) -> None:
        with self.lock:
            page.num_running -= 1
            page.last_used = time.time()

    def _delete_unused(self, upload: Path | None) -> None:
        """Delete an upload that no other page shows, with its folder: equal files share one place."""
        shown = any(page.upload == upload for page in self.pages.values())
        if upload is not None and self.owns(upload) and not shown:
            upload.unlink(missing_ok=True)
            with suppress(OSError):
                upload.parent.rmdir()
