import numpy as np
import pytest

from dfer_hf.video.sampling import Sampling, segment_indices, sliding_windows, uniform_indices


@pytest.mark.parametrize("num_video_frames", [1, 2, 5, 15, 16, 17, 31, 100, 1000])
@pytest.mark.parametrize("num_clip_frames", [1, 8, 16])
def test_uniform_indices_are_the_middles_of_equal_segments(num_video_frames, num_clip_frames):
    indices = uniform_indices(num_video_frames, num_clip_frames)
    middles = (np.arange(num_clip_frames) + 0.5) * num_video_frames / num_clip_frames
    assert indices.tolist() == np.floor(middles).astype(int).tolist()


def test_clip_of_exactly_its_length_uses_every_frame():
    assert uniform_indices(16, 16).tolist() == list(range(16))
    for num_segments, frames_per_segment in ((16, 1), (8, 2), (4, 4)):
        counts = {"num_segments": num_segments, "frames_per_segment": frames_per_segment}
        assert segment_indices(16, **counts).tolist() == list(range(16))
        assert segment_indices(16, **counts, generator=np.random.default_rng(0)).tolist() == list(range(16))


@pytest.mark.parametrize("num_video_frames", range(1, 16))
def test_short_clips_repeat_every_frame_about_equally(num_video_frames):
    for indices in (
        uniform_indices(num_video_frames, 16),
        segment_indices(num_video_frames, num_segments=8, frames_per_segment=2),
    ):
        counts = np.bincount(indices, minlength=num_video_frames)
        assert len(indices) == 16
        assert counts.size == num_video_frames
        assert counts.max() - counts.min() <= 1
        assert (np.diff(indices) >= 0).all()


@pytest.mark.parametrize("num_video_frames", [17, 18, 23, 24, 25, 64, 100, 333])
@pytest.mark.parametrize(("num_segments", "frames_per_segment"), [(8, 2), (16, 1), (4, 4)])
def test_testing_follows_the_published_formula(num_video_frames, num_segments, frames_per_segment):
    tick = (num_video_frames - frames_per_segment + 1) / num_segments
    starts = [int(tick / 2 + tick * segment) for segment in range(num_segments)]
    published = sorted(start + step for start in starts for step in range(frames_per_segment))
    indices = segment_indices(num_video_frames, num_segments=num_segments, frames_per_segment=frames_per_segment)
    assert indices.tolist() == published


@pytest.mark.parametrize("num_video_frames", [17, 18, 23, 24, 25, 64, 100, 333])
def test_training_draws_one_run_from_each_segment(num_video_frames):
    generator = np.random.default_rng(0)
    num_starts = num_video_frames - 1
    for _ in range(20):
        runs = segment_indices(num_video_frames, num_segments=8, frames_per_segment=2, generator=generator).reshape(
            8, 2
        )
        assert (np.diff(runs, axis=1) <= 1).all()
        for segment, (start, _) in enumerate(runs):
            assert segment * num_starts // 8 <= start < (segment + 1) * num_starts // 8


def test_training_reaches_the_last_frame():
    generator = np.random.default_rng(0)
    draws = [segment_indices(23, num_segments=8, frames_per_segment=2, generator=generator) for _ in range(50)]
    assert set(np.concatenate(draws).tolist()) == set(range(23))


def test_training_reaches_every_place_in_a_segment():
    generator = np.random.default_rng(0)
    draws = [segment_indices(33, num_segments=8, frames_per_segment=2, generator=generator)[:2] for _ in range(200)]
    assert {tuple(draw.tolist()) for draw in draws} == {(0, 1), (1, 2), (2, 3), (3, 4)}


def test_same_generator_state_gives_the_same_frames():
    first, second = (
        segment_indices(99, num_segments=8, frames_per_segment=2, generator=np.random.default_rng(7)) for _ in range(2)
    )
    assert first.tolist() == second.tolist()


@pytest.mark.parametrize(
    ("num_frames", "window", "stride"), [(7, 4, 2), (8, 4, 2), (100, 16, 8), (17, 16, 50), (16, 16, 1)]
)
def test_windows_reach_from_the_first_frame_to_the_last(num_frames, window, stride):
    windows = sliding_windows(num_frames, window=window, stride=stride)
    starts = windows[:, 0]
    assert (windows == starts[:, None] + np.arange(window)).all()
    assert (starts[0], windows[-1, -1]) == (0, num_frames - 1)
    assert (np.diff(starts)[:-1] == stride).all()
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= stride).all()


def test_short_video_is_one_window():
    assert sliding_windows(2, window=4, stride=1).tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("runs", [(16, 1), (8, 2)])
@pytest.mark.parametrize("num_frames", [1, 5, 16, 17, 31, 32, 75, 150])
def test_views_begin_with_the_clip_of_evaluation_and_leave_no_frame_out(runs, num_frames):
    sampling = Sampling(*runs)
    rows = sampling.views(num_frames, every=1)
    assert rows.shape[1] == 16
    assert np.array_equal(rows[0], sampling.indices(num_frames))
    assert np.array_equal(np.unique(rows), np.arange(num_frames))
    assert (np.diff(rows) >= 0).all()


@pytest.mark.parametrize("runs", [(16, 1), (8, 2), (4, 4)])
@pytest.mark.parametrize("every", [2, 4])
def test_views_look_at_one_frame_in_so_many_all_over_the_video(runs, every):
    rows = Sampling(*runs).views(150, every=every)
    assert 150 / every <= rows.size < 150 / every + 16
    gaps = np.diff(np.unique(rows), prepend=-1, append=150)
    assert gaps.max() <= 2 + runs[1] * (every - 1)


def test_where_every_frame_is_taken_training_still_draws_some():
    sampling = Sampling(1, 1, every_frame=True)
    assert sampling.indices(9).tolist() == list(range(9))
    assert sampling.views(9, every=2).tolist() == [list(range(9))]
    drawn = {int(sampling.indices(9, generator=np.random.default_rng(seed))[0]) for seed in range(60)}
    assert drawn == set(range(9))


@pytest.mark.parametrize(
    ("pick", "name"),
    [
        (lambda: uniform_indices(0, 16), "num_video_frames"),
        (lambda: uniform_indices(16, 0), "num_clip_frames"),
        (lambda: segment_indices(-1, num_segments=8, frames_per_segment=2), "num_video_frames"),
        (lambda: segment_indices(16, num_segments=0, frames_per_segment=2), "num_segments"),
        (lambda: segment_indices(16, num_segments=8, frames_per_segment=0), "frames_per_segment"),
        (lambda: sliding_windows(0, window=4, stride=1), "num_frames"),
        (lambda: sliding_windows(8, window=0, stride=1), "window"),
        (lambda: sliding_windows(8, window=4, stride=0), "stride"),
        (lambda: Sampling().views(8, every=0), "every"),
    ],
)
def test_counts_that_are_not_positive_are_refused(pick, name):
    with pytest.raises(ValueError, match=rf"Expected {name} of at least 1, got"):
        pick()
