"""What a picture of a camera costs, with each shipped checkpoint: `python -m tests.benchmarks.live`.

The pictures are those of the example clip that show the face, as the page sends them: small JPEGs, answered one by one
in one thread. Beside it stands the plain way, which analyses each picture by itself as a file. The ratio of the CPU
times is what counts.
"""

import io
import json
import sys
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

import dfer_hf
from dfer_hf.checkpoints import shipped_folder
from dfer_hf.faces.detection import one_thread
from dfer_hf.live import watch
from dfer_hf.video import read_frames

NUM_PICTURES, WIDTH = 40, 320


def make_pictures() -> list[bytes]:
    """The first pictures of the example clip, as the page sends them."""
    pictures = []
    for frame in list(read_frames(shipped_folder("examples") / "astronaut.webm"))[:NUM_PICTURES]:
        written, picture = io.BytesIO(), Image.fromarray(frame.rgb)
        picture.thumbnail((WIDTH, WIDTH))
        picture.save(written, "JPEG", quality=80)
        pictures.append(written.getvalue())
    return pictures


def milliseconds(answer: Callable[[bytes], object], pictures: list[bytes]) -> float:
    """CPU time of a picture, after the first ones, which pay for what is loaded once."""
    for picture in pictures[:3]:
        answer(picture)
    started = time.process_time()
    for picture in pictures:
        answer(picture)
    return 1000 * (time.process_time() - started) / len(pictures)


def main() -> None:
    """Measure every shipped checkpoint, and print milliseconds as JSON."""
    pictures = make_pictures()
    for name in dfer_hf.shipped_checkpoints():
        predictor = dfer_hf.VideoPredictor.from_pretrained(name, device="cpu")
        with one_thread():
            live = milliseconds(watch(predictor), pictures)
            # As many are enough for what takes much longer.
            plain = milliseconds(
                lambda picture, predictor=predictor: predictor(np.asarray(Image.open(io.BytesIO(picture)))),
                pictures[:10],
            )
        found = {"checkpoint": name, "live_ms": round(live, 1), "plain_ms": round(plain, 1)}
        sys.stdout.write(json.dumps(found | {"ratio": round(plain / live, 2)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
