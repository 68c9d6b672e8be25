"""Run an iterator in a thread, a few items ahead, so that decoding, finding faces and the model share the cores."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def prefetch(items: Iterable[Item], num_ahead: int) -> Generator[Item, None, None]:
    """Yield `items` in order while a thread fetches up to `num_ahead` of them in advance.

    An error of the iterator is raised here, at its place. The thread ends when the last item was taken, when the
    iterator fails, when this one is closed, or with the thread that started it: no decoder may still call back into an
    interpreter that is shut down.
    """
    waiting: queue.Queue = queue.Queue(maxsize=num_ahead)
    abandoned = threading.Event()
    done, consumer = object(), threading.current_thread()

    def put(entry: tuple[object, BaseException | None]) -> bool:
        while not abandoned.is_set() and consumer.is_alive():
            try:
                waiting.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def fetch() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    break
            else:
                put((done, None))
        except BaseException as error:  # noqa: BLE001  handed to the consumer, which raises it
            put((done, error))
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=fetch, name="dfer-reader", daemon=False)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is done:
                return
            yield item  # pyright: ignore[reportReturnType]
    finally:
        abandoned.set()
        thread.join()
