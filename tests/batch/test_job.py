"""A file is answered once for its content, whoever asks how often; a crew does again what a dead worker had."""

import shutil
from collections import deque
from pathlib import Path

import pytest

from dfer_hf.batch.crew import Crew
from dfer_hf.batch.job import DIED, BatchJob, Outcome
from dfer_hf.batch.parts import PartFolder


@pytest.fixture
def job(batch_predictor, tmp_path):
    (tmp_path / "out").mkdir()
    columns = tuple(batch_predictor.columns.items())
    return BatchJob(batch_predictor, tmp_path / "out", "tiny", columns)


@pytest.fixture
def file(clips, tmp_path):
    return shutil.copy(clips / "short.webm", tmp_path / "a.webm")


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_file_is_answered_once(job, file, rows_in):
    assert job(file) == Outcome(1, "", was_there=False)
    before = stamps(job.folder)
    assert job(file) == Outcome(1, "", was_there=True)
    assert stamps(job.folder) == before
    (row,) = rows_in(job.folder)
    assert row["path"] == str(file)


def test_a_copy_has_rows_of_its_own_without_being_analysed(job, file, rows_in, monkeypatch):
    job(file)
    copy = shutil.copy(file, file.with_name("b.webm"))

    def refuse(*_args, **_kwargs):
        raise AssertionError("analysed again")

    monkeypatch.setattr(type(job.predictor), "rows_of", refuse)
    assert job(copy) == Outcome(1, "", was_there=False)
    first, second = sorted(rows_in(job.folder), key=lambda row: row["path"])
    assert (first["path"], second["path"]) == (str(file), str(copy))
    assert {**first, "path": ""} == {**second, "path": ""}


def test_an_error_names_the_file_that_it_is_of_and_no_copy(job, clips, tmp_path, rows_in):
    for name in ("one.mp4", "two.mp4"):
        job(Path(shutil.copy(clips / "empty.mp4", tmp_path / name)))
    assert all(repr(Path(row["path"]).name) in row["error"] for row in rows_in(job.folder))


def test_rows_of_a_file_that_changed_go_away(job, file, clips, rows_in):
    job(file)
    shutil.copy(clips / "pair.webm", file)
    assert job(file).num_rows == 2
    assert [row["num_faces"] for row in rows_in(job.folder)] == [2, 2]


def test_what_never_changes_is_not_tried_again_and_what_may_is(job, clips, tmp_path, rows_in):
    assert not job(clips / "text.mp4").was_there
    assert job(clips / "text.mp4").was_there
    late = tmp_path / "late.webm"
    assert "late.webm" in job(late).error
    assert not job(late).was_there
    shutil.copy(clips / "short.webm", late)
    assert job(late) == Outcome(1, "", was_there=False)
    assert [row["error_name"] for row in rows_in(job.folder) if row["path"] == str(late)] == [None]


def test_error_rows_and_faces_have_one_schema(job, file, clips, rows_in):
    """Readers take the first part's; the columns of another would be lost."""
    for path in (clips / "empty.mp4", file, clips / "faceless.webm"):
        job(path)
    rows = rows_in(job.folder)
    assert len(rows) == 3
    assert {tuple(row) for row in rows} == {tuple(dict(job.columns))}
    assert all(row["p_happiness"] is None or 0 <= row["p_happiness"] <= 1 for row in rows)


def test_a_part_is_whole_or_not_there(job, file, monkeypatch):
    def break_off(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", break_off)
    with pytest.raises(KeyboardInterrupt):
        job(file)
    part = PartFolder(job.folder).part_of(file, None).name.rpartition("-")[0]
    assert not [path for path in job.folder.iterdir() if path.name.startswith(part)]
    monkeypatch.undo()
    assert job(file) == Outcome(1, "", was_there=False)


class DyingWorkers:
    """Workers in this process, some of which die instead of answering."""

    def __init__(self, job, deaths):
        self.job, self.deaths, self.given = job, dict(deaths), deque()
        self.order = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        pass

    def give(self, number, file):
        self.given.append((number, file))

    def wait(self, _seconds):
        number, file = self.given.popleft()
        self.order.append(file.name)
        if self.deaths.get(file.name, 0):
            self.deaths[file.name] -= 1
            yield number, None
        else:
            yield number, self.job(file)


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_file_of_a_dead_worker_is_done_again_and_given_up_after_two_deaths(job, clips, rows_in, num_workers):
    files = [clips / name for name in ("short.webm", "empty.mp4", "still.png", "text.mp4")]
    workers = DyingWorkers(job, {"short.webm": 1, "still.png": 5})
    crew = Crew(files, job, workers, num_workers=num_workers, report=lambda: None)
    outcomes = [crew.outcome(file) for file in files]
    assert [bool(outcome.error) for outcome in outcomes] == [False, True, True, True]
    assert sorted(workers.order) == sorted(["short.webm"] * 2 + ["still.png"] * 2 + ["empty.mp4", "text.mp4"])
    names = {row["path"].rpartition("/")[2]: row["error_name"] for row in rows_in(job.folder)}
    assert len(rows_in(job.folder)) == 4
    assert names == {
        "short.webm": None,
        "empty.mp4": "EmptyVideoError",
        "still.png": DIED,
        "text.mp4": "NotAVideoError",
    }
    # The next run tries it again.
    assert job(clips / "still.png") == Outcome(1, "", was_there=False)
    assert len(rows_in(job.folder)) == 4
