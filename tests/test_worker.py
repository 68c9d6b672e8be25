"""Jobs in processes of their own: what they answer, and how they end."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from dfer_hf import worker
from dfer_hf.worker import JobCancelledError, JobLimits, JobRefusedError, JobRunner

LIMITS = JobLimits(wall_seconds=30)
on_linux = pytest.mark.skipif(not worker.CAN_FORK, reason="the limits of forked processes")


def load(word):
    return [word, os.getpid()]


def fail_to_load():
    raise ValueError("no such model")


def refuse_to_load():
    raise JobRefusedError("no such model")


def greet(shared, report, name):
    report(0.5, "greeting")
    shared.append("never seen by another job")
    return f"{shared[0]} {name}", len(shared), os.getpid()


def refuse(_shared, _report, reason):
    raise JobRefusedError(reason)


def break_down(_shared, _report):
    raise ZeroDivisionError


def kill(_shared, _report, sent):
    os.kill(os.getpid(), sent)


def hang(_shared, _report, note=None):
    if note is not None:
        note.write_text(str(os.getpid()), encoding="utf-8")
    # Never comes back from C.
    sum(iter(int, 1))


def burn(_shared, _report):
    while True:
        pass


def eat(_shared, _report):
    eaten = []
    while True:
        eaten.append(bytearray(b"x") * 10_000_000)


def write_much(_shared, _report, path):
    path.write_bytes(bytes(2_000_000))


def open_missing(_shared, _report, name):
    return Path(name).read_bytes()


def count_up(shared, start):
    state = [start, shared[0]]

    def answer(step):
        if step < 0:
            raise JobRefusedError("It only counts up.", "WrongWayError")
        if step > 100:
            os.kill(os.getpid(), signal.SIGSEGV)
        state[0] += step
        return *state, os.getpid()

    return answer


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return held


@contextlib.contextmanager
def running(*loading):
    runner = JobRunner(*loading)
    try:
        yield runner
    finally:
        runner.close()


@pytest.fixture(scope="module")
def runner():
    with running(load, "hello") as runner:
        runner.start()
        yield runner


def test_a_job_answers_and_reports_from_another_process(runner):
    heard = []
    answer, _, pid = runner.run(greet, "you", limits=LIMITS, on_progress=lambda *said: heard.append(said))
    assert answer == "hello you"
    assert heard == [(0.5, "greeting")]
    assert pid != os.getpid()


@on_linux
def test_jobs_share_what_was_loaded_and_leave_it_alone(runner):
    sizes = [runner.run(greet, "you", limits=LIMITS)[1] for _ in range(2)]
    assert sizes == [3, 3]


def test_a_job_refuses_in_its_own_words(runner):
    with pytest.raises(JobRefusedError, match=r"^no face here$"):
        runner.run(refuse, "no face here", limits=LIMITS)


@on_linux
@pytest.mark.parametrize(
    ("job", "said"),
    [
        ((break_down,), worker.BROKE_DOWN),
        ((kill, signal.SIGSEGV), worker.BROKE_DOWN),
        ((kill, signal.SIGABRT), worker.BROKE_DOWN),
        ((kill, signal.SIGKILL), worker.TOO_MUCH_MEMORY),
        ((burn,), worker.TOO_LONG),
        ((eat,), worker.TOO_MUCH_MEMORY),
    ],
)
def test_what_ends_a_job_is_one_sentence_for_its_sender_and_nothing_for_others(runner, job, said):
    other = threading.Thread(target=lambda: answers.append(runner.run(greet, "other", limits=LIMITS)[0]))
    answers = []
    other.start()
    with pytest.raises(JobRefusedError, match=said):
        runner.run(*job, limits=JobLimits(wall_seconds=20, cpu_seconds=1, memory_bytes=200_000_000))
    other.join()
    assert answers == ["hello other"]


@on_linux
def test_a_job_cannot_fill_the_disk(runner, tmp_path):
    with pytest.raises(JobRefusedError):
        runner.run(write_much, tmp_path / "much", limits=JobLimits(file_bytes=1_000_000))
    assert (tmp_path / "much").stat().st_size <= 1_000_000


def test_time_runs_out_for_a_job_that_never_looks_up(runner):
    started = time.monotonic()
    with pytest.raises(JobRefusedError, match=worker.TOO_LONG):
        runner.run(hang, limits=JobLimits(wall_seconds=0.5))
    assert time.monotonic() - started < 2


def test_a_cancelled_job_is_dead_within_a_second(runner, tmp_path):
    cancelled, note = threading.Event(), tmp_path / "pid"
    threading.Thread(target=lambda: (wait_until(note.exists), cancelled.set())).start()
    with pytest.raises(JobCancelledError):
        runner.run(hang, note, limits=LIMITS, cancelled=cancelled)
    pid = Path("/proc") / note.read_text(encoding="utf-8")
    assert wait_until(lambda: not pid.exists(), seconds=1)


def test_an_error_of_the_listener_stops_the_job(runner):
    def hang_up(*_):
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        runner.run(greet, "you", limits=LIMITS, on_progress=hang_up)


@pytest.mark.parametrize(
    ("loading", "error", "said"),
    [
        pytest.param(fail_to_load, RuntimeError, "its error stands above", marks=pytest.mark.slow),
        (refuse_to_load, JobRefusedError, "no such model"),
    ],
)
def test_what_cannot_be_loaded_is_said_at_the_start(loading, error, said):
    with running(loading) as broken, pytest.raises(error, match=said):
        broken.start()


@on_linux
def test_a_killed_nursery_takes_its_jobs_along_and_is_replaced(runner, tmp_path):
    note, before = tmp_path / "pid", runner._nursery.process.pid
    threading.Thread(target=lambda: (wait_until(note.exists), os.kill(before, signal.SIGKILL))).start()
    with pytest.raises(JobRefusedError, match=worker.BROKE_DOWN):
        runner.run(hang, note, limits=LIMITS)
    assert wait_until(lambda: not (Path("/proc") / note.read_text(encoding="utf-8")).exists())
    assert runner.run(greet, "again", limits=LIMITS)[0] == "hello again"
    assert runner._nursery.process.pid != before


@pytest.mark.slow
def test_without_fork_one_process_does_jobs_until_one_has_to_be_stopped(monkeypatch):
    monkeypatch.setattr(worker, "CAN_FORK", False)
    with running(load, "hello") as runner:
        first, second = [runner.run(greet, "you", limits=LIMITS) for _ in range(2)]
        assert first[0] == second[0] == "hello you"
        assert first[2] == second[2]
        with pytest.raises(JobRefusedError, match="no face"):
            runner.run(refuse, "no face", limits=LIMITS)
        with pytest.raises(JobRefusedError, match=worker.TOO_LONG):
            runner.run(hang, limits=JobLimits(wall_seconds=0.5))
        assert runner.run(greet, "you", limits=LIMITS)[2] != first[2]


def test_a_process_answers_questions_one_after_the_other_and_remembers(runner):
    with runner.talk(count_up, 10, limits=LIMITS) as ask:
        total, word, pid = ask(1)
        assert (total, word) == (11, "hello")
        with pytest.raises(JobRefusedError, match="only counts up") as refused:
            ask(-1)
        assert refused.value.name == "WrongWayError"
        assert ask(2) == (13, "hello", pid)
        assert pid != os.getpid()


def test_a_process_that_dies_over_a_question_is_an_error_with_a_name(runner):
    with runner.talk(count_up, 10, limits=LIMITS) as ask, pytest.raises(JobRefusedError) as refused:
        ask(1000)
    assert refused.value.name == "BrokeDownError"


@on_linux
def test_a_talk_that_is_over_leaves_no_process(runner):
    with runner.talk(count_up, 10, limits=LIMITS) as ask:
        *_, pid = ask(1)
    assert wait_until(lambda: not Path(f"/proc/{pid}").exists())


@on_linux
def test_an_unexpected_error_is_written_down_without_what_it_says(capfd):
    with running(load, "hello") as runner, pytest.raises(JobRefusedError):
        runner.run(open_missing, "holiday-of-anna.mp4", limits=LIMITS)
    written = capfd.readouterr().err
    assert "FileNotFoundError" in written
    assert "open_missing" in written
    assert "anna" not in written
