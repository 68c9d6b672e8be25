import itertools
import threading
import time

import pytest

from dfer_hf.prefetch import prefetch


def reader_threads():
    return [thread for thread in threading.enumerate() if thread.name == "dfer-reader"]


def test_keeps_the_order_of_all_items():
    assert list(prefetch(iter(range(500)), 3)) == list(range(500))


def test_nothing_in_gives_nothing_out():
    assert list(prefetch(iter(()), 3)) == []


def test_items_may_be_none_and_errors():
    items = [None, ValueError("an item, not raised"), None]
    assert list(prefetch(items, 1)) == items


def test_runs_in_a_thread_of_its_own():
    threads = (threading.current_thread() for _ in range(3))
    assert threading.main_thread() not in set(prefetch(threads, 1))


def test_an_error_is_raised_after_the_items_before_it():
    def failing():
        yield 1
        yield 2
        raise LookupError("in the middle")

    items = prefetch(failing(), 8)
    # The thread has long met the error.
    time.sleep(0.05)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(LookupError, match="in the middle"):
        next(items)
    assert not reader_threads()


def test_fetches_no_further_ahead_than_asked():
    fetched = []

    def counting():
        for number in itertools.count():
            fetched.append(number)
            yield number

    items = prefetch(counting(), 4)
    next(items)
    time.sleep(0.3)
    # Taken, waiting, and one in the thread's hand.
    assert len(fetched) <= 1 + 4 + 1
    items.close()


def test_thread_ends_and_source_is_closed_when_the_consumer_stops_early():
    closed = threading.Event()

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    items = prefetch(endless(), 2)
    assert next(items) == 0
    assert len(reader_threads()) == 1
    items.close()
    assert closed.is_set()
    assert not reader_threads()


def test_thread_ends_with_the_thread_that_started_it():
    """At the end of a process the main thread ends while it still holds the items."""
    kept, closed = [], threading.Event()

    def endless():
        try:
            yield from itertools.count()
        finally:
            closed.set()

    def begin_only():
        kept.append(prefetch(endless(), 2))
        next(kept[0])
        assert not any(thread.daemon for thread in reader_threads())

    consumer = threading.Thread(target=begin_only)
    consumer.start()
    consumer.join()
    assert closed.wait(timeout=5)
    kept[0].close()
    assert not reader_threads()
