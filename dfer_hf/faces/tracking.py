"""Follow faces through a clip: one identity per person, a box and five points for every frame.

Detection is the slow part, so it runs a few times a second; boxes and points in between are interpolated. Frames are
held back until no later detection can change what is said of them: up to `MAX_HELD_FRAMES`, and 16 for every detected
frame of a batch; at 30 frames a second 21, and 6 for every detected frame.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..video.reader import Frame
from .boxes import areas, distances, overlaps
from .detection import Detection, FaceDetector
from .key_frames import MAX_INTERVAL_FRAMES, Moment, choose_key_frames, detect_on_key_frames

MAX_HELD_FRAMES = 64
"""Longest gap that is filled, and the interval after it; keeps slow motion from filling the memory."""

RESUME_SECONDS = 3.0
"""Who was not seen for longer is somebody new."""

START_CONFIDENCE = 0.9
"""What a detection needs to start an identity; less is enough to continue one."""

_MAX_GAP_FRAMES = MAX_HELD_FRAMES - MAX_INTERVAL_FRAMES
_SURE_CONFIDENCE = 0.97
# Of those who are not alone. A false face of `tests/benchmarks/video.py`, found at 0.98, 0.70 and 0.74 in turn, goes;
# of 34 small, dark, turned or covered portraits beside a clear one all stay, in 1,170 of 1,171 frames; 0.9 loses one.
_CONFIRMING_CONFIDENCE = 0.85
_MAX_SIZE_RATIO = 2.0


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame of a clip, with the identity it keeps over the clip.

    Attributes:
        track_id: 0, 1, 2, … in the order in which people appear, the larger face first.
        box: Left, top, right and bottom in pixels of the frame's `rgb`; may reach beyond its borders.
        points: Left eye, right eye, nose, left and right mouth corner in the same pixels, shape `(5, 2)`.
        confidence: Of the detection, or interpolated like the box.
        is_interpolated: Whether the detector did not find this face in this very frame.
    """

    track_id: int
    box: tuple[float, float, float, float]
    points: np.ndarray
    confidence: float
    is_interpolated: bool


@dataclass(frozen=True)
class TrackedFrame:
    """A frame and the faces in it, by rising `track_id`; none where nobody is seen."""

    frame: Frame
    faces: tuple[TrackedFace, ...]


def track_faces(
    frames: Iterable[Frame],
    detector: FaceDetector,
    *,
    detect_every_seconds: float = 0.2,
    max_gap_seconds: float = 0.5,
    batch_size: int = 4,
) -> Iterator[TrackedFrame]:
    """Give every frame, in order and exactly once, with its faces.

    Faces are detected on the first and last frame, on both sides of a cut, every `detect_every_seconds` between, and
    on every second frame while a face moves fast. A face missed for at most `max_gap_seconds` is interpolated through
    the gap. One that comes back later, but within three seconds and near where it was, keeps its identity, and the gap
    stays a gap. Identities end at a cut: who is seen after it is somebody new. Before its first and after its last
    detection a face is held for half a detection interval.

    A face that only one call of the detector found is a false alarm and dropped, unless the clip has one detected
    frame only, such as a still, or the detector was sure and nobody else has been seen so far. Beside others, the
    second detection must be quite sure as well.

    Args:
        frames: Frames in the order of time, such as `dfer_hf.video.read_frames` gives.
        detector: What finds the faces.
        detect_every_seconds: Time between detections; 0 detects on every frame.
        max_gap_seconds: Longest time without detection over which a face is interpolated.
        batch_size: Detected frames handed to the detector at once: on a GPU more is faster, on a CPU it only
            holds more frames in memory.

    Raises:
        ValueError: If a setting is out of its range.
    """
    if detect_every_seconds < 0 or max_gap_seconds < 0 or batch_size < 1:
        raise ValueError(
            "Expected detect_every_seconds and max_gap_seconds of 0 or more and batch_size of 1 or more, "
            f"got {detect_every_seconds}, {max_gap_seconds} and {batch_size}."
        )
    return _track(
        detect_on_key_frames(choose_key_frames(frames, detect_every_seconds), detector, batch_size), max_gap_seconds
    )


@dataclass(eq=False)
class _Track:
    """What is known of one person: the last detection, and how fast its centre moves in pixels per second."""

    position: int
    seconds: float
    detection: Detection
    first_position: int
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))
    num_detections: int = 1
    # A later detection may still fill the frames since the last.
    is_waiting: bool = True
    track_id: int | None = None

    @property
    def is_known(self) -> bool:
        """Whether this is somebody for sure: found more than once, or told of already."""
        return self.num_detections > 1 or self.track_id is not None


def _track(moments: Iterable[Moment], max_gap_seconds: float) -> Iterator[TrackedFrame]:
    tracker = _Tracker(max_gap_seconds)
    for moment in moments:
        if moment.starts_shot:
            yield from tracker.end_shot()
        tracker.held.append(moment)
        if moment.is_key:
            tracker.record(moment)
            yield from tracker.release()
    yield from tracker.end_shot(is_end=True)


class _Tracker:
    """Who has been seen, and the frames of which not everything is known yet."""

    def __init__(self, max_gap_seconds: float):
        self.max_gap_seconds = max_gap_seconds
        self.held: deque[Moment] = deque()
        self.tracks: list[_Track] = []
        self.num_keys, self.num_people = 0, 0
        # Its position, in this shot.
        self.last_key: int | None = None

    def record(self, now: Moment) -> None:
        """Take in the detections of the newest frame held."""
        self.num_keys += 1
        fresh = [track for track in self.tracks if self._is_within_gap(track, now)]
        stale = [track for track in self.tracks if not self._is_within_gap(track, now)]
        unmatched = list(now.detections)
        for candidates in (fresh, stale):
            for track, detection in _matches(candidates, unmatched, now.seconds):
                if not track.is_known and len(self.tracks) > 1 and detection.confidence < _CONFIRMING_CONFIDENCE:
                    continue
                unmatched = [other for other in unmatched if other is not detection]
                self._continue(track, detection, now, is_gap=candidates is stale)
        for detection in unmatched:
            if detection.confidence >= START_CONFIDENCE:
                track = _Track(now.position, now.seconds, detection, first_position=now.position)
                track.first_position = self._hold_before(track)
                now.faces.append((track, detection, False))
                self.tracks.append(track)
        self.last_key = now.position
        for track in self.tracks:
            if track.is_waiting and not self._is_within_gap(track, now):
                self._hold_after(track)
        self.tracks = [track for track in self.tracks if now.seconds - track.seconds <= RESUME_SECONDS]

    def release(self) -> Iterator[TrackedFrame]:
        """Give the frames that no later detection can change."""
        end = self.held[-1].position + 1
        for track in self.tracks:
            if track.is_waiting and track.num_detections == 1:
                end = min(end, track.first_position)
            elif track.is_waiting and track.position != self.last_key:
                end = min(end, track.position + 1)
        while self.held and self.held[0].position < end:
            yield self._close(self.held.popleft(), is_still=False)

    def end_shot(self, *, is_end: bool = False) -> Iterator[TrackedFrame]:
        """Give all frames; whoever comes next is somebody new."""
        for track in self.tracks:
            if track.is_waiting and track.position != self.last_key:
                self._hold_after(track)
        self.tracks, self.last_key = [], None
        while self.held:
            yield self._close(self.held.popleft(), is_still=is_end and self.num_keys == 1)

    def _is_within_gap(self, track: _Track, now: Moment) -> bool:
        """Whether what is between the last detection of a track and now is to be filled."""
        if track.position == self.last_key:
            return True
        is_short = now.seconds - track.seconds <= self.max_gap_seconds
        return track.is_waiting and is_short and now.position - track.position <= _MAX_GAP_FRAMES

    def _continue(self, track: _Track, detection: Detection, now: Moment, *, is_gap: bool) -> None:
        elapsed, steps = now.seconds - track.seconds, now.position - track.position
        start, track.velocity = track.detection, np.zeros(2)
        if not is_gap:
            for moment in self._between(track.position, now.position):
                passed = moment.seconds - track.seconds
                weight = passed / elapsed if elapsed > 0 else (moment.position - track.position) / steps
                moment.faces.append((track, _blend(start, detection, weight), True))
            if elapsed > 0:
                track.velocity = (np.array(detection.box) - start.box).reshape(2, 2).mean(axis=0) / elapsed
        track.position, track.seconds, track.detection = now.position, now.seconds, detection
        track.num_detections += 1
        track.is_waiting = True
        now.faces.append((track, detection, False))
        if is_gap:
            self._hold_before(track)

    def _hold_before(self, track: _Track) -> int:
        """Show a face that has just come in the half interval before; says from which position on."""
        if self.last_key is None:
            return track.position
        moments = self._between((self.last_key + track.position) // 2, track.position)
        for moment in moments:
            moment.faces.append((track, track.detection, True))
        return moments[0].position if moments else track.position

    def _hold_after(self, track: _Track) -> None:
        """Show a face that is lost in the half interval after."""
        track.is_waiting = False
        next_key = next(moment.position for moment in self.held if moment.is_key and moment.position > track.position)
        for moment in self._between(track.position, (track.position + next_key + 1) // 2):
            moment.faces.append((track, track.detection, True))

    def _between(self, first: int, last: int) -> list[Moment]:
        return [moment for moment in self.held if first < moment.position < last]

    def _close(self, moment: Moment, *, is_still: bool) -> TrackedFrame:
        """Settle who is real, number them, and make the frame."""
        faces = []
        nobody_so_far = self.num_people == 0
        for track, detection, is_interpolated in moment.faces:
            if track.track_id is None:
                is_sure = nobody_so_far and detection.confidence >= _SURE_CONFIDENCE
                if track.num_detections == 1 and not is_sure and not is_still:
                    continue
                track.track_id = self.num_people
                self.num_people += 1
            found = detection.box, detection.points, detection.confidence
            faces.append(TrackedFace(track.track_id, *found, is_interpolated))
        return TrackedFrame(moment.frame, tuple(sorted(faces, key=lambda face: face.track_id)))


def _matches(
    tracks: Sequence[_Track], detections: Sequence[Detection], now_seconds: float
) -> list[tuple[_Track, Detection]]:
    """Pair tracks with detections, the best first, by overlap with where the track should be and distance."""
    if not tracks or not detections:
        return []
    elapsed = np.array([now_seconds - track.seconds for track in tracks])
    last = np.array([track.detection.box for track in tracks])
    moved = last + np.tile(np.array([track.velocity for track in tracks]) * elapsed[:, None], 2)
    found = np.array([detection.box for detection in detections])
    sizes, found_sizes = (np.sqrt(np.maximum(areas(b), 1e-6)) for b in (last, found))
    size = np.sqrt(sizes[:, None] * found_sizes)
    ratio = sizes[:, None] / found_sizes
    # A face goes on as it moved, or it has turned round or stopped.
    distance = np.minimum(distances(moved, found), distances(last, found)) / size
    overlap = np.maximum(overlaps(moved, found), overlaps(last, found))
    reach = np.clip(0.75 + elapsed, None, 1.5)[:, None]
    is_possible = (distance < reach) & (np.maximum(ratio, 1 / ratio) < _MAX_SIZE_RATIO)
    cost = np.where(is_possible, distance + 1 - overlap, np.inf)
    pairs = []
    while np.isfinite(cost).any():
        row, column = divmod(int(np.argmin(cost)), len(detections))
        pairs.append((tracks[row], detections[column]))
        cost[row], cost[:, column] = np.inf, np.inf
    return pairs


def _blend(first: Detection, second: Detection, weight: float) -> Detection:
    """Interpolate: the first detection at weight 0, the second at 1."""
    box = (1 - weight) * np.array(first.box) + weight * np.array(second.box)
    points = (1 - weight) * first.points + weight * second.points
    confidence = (1 - weight) * first.confidence + weight * second.confidence
    return Detection(tuple(box.tolist()), points, confidence)
