"""The sound of a clip, brought into a file that is being written."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from typing import TypeVar, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from .clock import Clock
from .container import Source, choose_track, duration_seconds, name_source, open_container, open_file, read_packets
from .errors import VideoError

# What browsers play, by container; anything else is encoded anew.
_COPIED = {"webm": ("opus", "vorbis"), "mp4": ("aac", "mp3")}
_ENCODERS = {"webm": "libopus", "mp4": "aac"}
_RATE, _BIT_RATE = 48_000, 128_000
_LONGEST_PAUSE_SECONDS = 10.0


def carry_sound(source: Source | None, output: OutputContainer, container: str) -> Generator[av.Packet, None, None]:
    """Add a stream for the sound of `source` to the container, and yield its packets.

    The stream is added with the first packet, so take that before the container's header is written. Sound that cannot
    be read is left out from there on: it never costs the pictures.
    """
    if source is None:
        return
    with (
        suppress(av.FFmpegError, VideoError, ValueError, OSError),
        open_file(source) as stream,
        open_container(stream, name_source(source)) as clip,
    ):
        film, sound = choose_track(clip, name_source(source)), clip.streams.best("audio")
        if not isinstance(sound, AudioStream):
            return
        film_start = float((film.start_time or 0) * (film.time_base or 0))
        target: AudioStream | None = None
        if sound.codec_context.codec.canonical_name in _COPIED[container]:
            for seconds, packet in _timed(read_packets(clip, sound), film_start):
                target = target or output.add_stream_from_template(sound)
                packet.pts = packet.dts = round(seconds / packet.time_base)
                packet.stream = target
                yield packet
            return
        for seconds, frame in _timed(_decode(clip, sound), film_start):
            target = target or cast(
                "AudioStream", output.add_stream(_ENCODERS[container], rate=_RATE, bit_rate=_BIT_RATE)
            )
            frame.pts, frame.time_base = round(seconds * frame.sample_rate), Fraction(1, frame.sample_rate)
            yield from target.encode(frame)
        if target is not None:
            yield from target.encode(None)


def _decode(clip: InputContainer, sound: AudioStream) -> Iterator[av.AudioFrame]:
    for packet in read_packets(clip, sound):
        with suppress(av.FFmpegError):
            yield from packet.decode()


_Piece = TypeVar("_Piece", av.Packet, av.AudioFrame)


def _timed(pieces: Iterable[_Piece], film_start: float) -> Iterator[tuple[float, _Piece]]:
    """Give packets or frames their seconds in the film, across the same jumps; what comes before it is left out."""
    clock, first_seconds = Clock(step_seconds=0.0, longest_pause_seconds=_LONGEST_PAUSE_SECONDS), None
    last = -1.0
    for piece in pieces:
        if piece.pts is None or piece.time_base is None:
            continue
        stamp = float(piece.pts * piece.time_base)
        first_seconds = stamp - film_start if first_seconds is None else first_seconds
        seconds = first_seconds + clock.tick(stamp, duration_seconds(piece))
        if seconds >= 0 and seconds > last:
            last = seconds
            yield seconds, piece
