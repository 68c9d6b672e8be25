"""Files that cost more than they look, made by hand."""

import av


def write_gif(path, *, side, num_frames, frames_per_second=50):
    """Write a GIF whose every frame changes one pixel and is decoded whole: 23 bytes for `side` squared pixels."""
    delay = (100 // frames_per_second).to_bytes(2, "little")
    size = side.to_bytes(2, "little") * 2
    frame = b"!\xf9\x04\0" + delay + b"\0\0,\0\0\0\0\1\0\1\0\0\2\2\x44\1\0"
    path.write_bytes(b"GIF89a" + size + b"\x80\0\0" + b"\0\0\0\xff\xff\xff" + frame * num_frames + b";")
    return path


def write_recording(path, frames):
    """Write what a browser records: WebM of 25 frames a second that does not say how long it is."""

    class Pipe:
        def __init__(self, file):
            self.write = file.write

    with path.open("wb") as file, av.open(Pipe(file), "w", format="webm", options={"live": "1"}) as container:
        stream = container.add_stream("vp8", rate=25)
        stream.pix_fmt, stream.options = "yuv420p", {"deadline": "realtime", "cpu-used": "8"}
        for rgb in frames:
            if not stream.codec_context.is_open:
                stream.height, stream.width = rgb.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
    return path
