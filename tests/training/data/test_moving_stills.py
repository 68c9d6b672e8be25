import dataclasses

import numpy as np
import pytest
import torch

from dfer_hf.faces.alignment import CROP_SIZE
from training.config import TrainConfig
from training.data import clip_damage, transforms
from training.data.face_motion import displacement_fields
from training.data.movable_faces import NEUTRAL, MovableFaces, movable_ferplus, shapes_at_rest
from training.data.moving_script import ALL_KINDS, LEAST_INTENSITY, OF_NEUTRAL, NoiseKind
from training.data.moving_stills import MovingStills, noise_bench_clips
from training.data.sources import build_data
from training.datasets.ferplus import load_ferplus

HAPPINESS = 0


def drawn_face():
    """68 landmarks of a face in the middle of the crop, by eye."""
    jaw = np.stack([np.linspace(12, 100, 17), 50 + 62 * np.sin(np.linspace(0, np.pi, 17))], axis=1)
    brows = [(x, 40) for x in (20, 26, 32, 38, 44, 68, 74, 80, 86, 92)]
    nose = [(56, 52), (56, 58), (56, 65), (56, 72), (48, 78), (52, 79), (56, 80), (60, 79), (64, 78)]
    eyes = [(30, 52), (35, 48), (41, 48), (46, 52), (41, 55), (35, 55)]
    eyes += [(66, 52), (71, 48), (77, 48), (82, 52), (77, 55), (71, 55)]
    turn = np.linspace(np.pi, -np.pi, 13)[:-1]
    inner = np.linspace(np.pi, -np.pi, 9)[:-1]
    mouth = [(56 + 15 * np.cos(a), 92 - 7 * np.sin(a)) for a in turn]
    mouth += [(56 + 11 * np.cos(a), 92 - 2 * np.sin(a)) for a in inner]
    return np.concatenate([jaw, brows, nose, eyes, mouth]).astype(np.float32)


@pytest.fixture(scope="module")
def faces(corpus):
    """The small corpus, with landmarks that differ from face to face."""
    split = load_ferplus(corpus, "train")
    grain = np.random.default_rng(0).normal(0, 1, (len(split), 68, 2))
    landmarks = (drawn_face() + grain).astype(np.float32) * (48 / CROP_SIZE)
    return movable_ferplus(dataclasses.replace(split, landmarks=landmarks))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def scripts(faces, times=10, **options):
    indices = torch.arange(len(faces)).repeat(times)
    return indices, MovingStills(faces, **options).writer.write(indices, seeded())


def test_landmarks_that_stay_give_the_still(faces):
    shown = torch.tensor([0, 5, 9])
    frames = MovingStills(faces).render(
        shown, faces.partners[shown, 0], faces.landmarks[shown], torch.ones(3), torch.eye(3).expand(3, -1, -1), 56
    )
    still = transforms.warp(faces.images[shown].float(), faces.crop_to_image[shown], 56)
    torch.testing.assert_close(frames.float(), still, atol=1.0, rtol=0)


def test_pixels_follow_their_landmarks_and_stay_far_away_from_them():
    marks = torch.tensor([[[30.0, 40.0], [60.0, 60.0]]])
    shifts = torch.tensor([[[2.0, -1.0], [0.0, 3.0]]])
    axis = torch.arange(-200.0, 201.0)
    field = displacement_fields(marks, shifts, axis)
    at_marks = field[0, :, marks[0, :, 1].long() + 200, marks[0, :, 0].long() + 200]
    torch.testing.assert_close(at_marks.T, shifts[0], atol=0.1, rtol=0)
    assert field[0, :, 0].abs().max() < 1e-3


def test_a_face_without_expression_shows_its_neutral_partner(faces):
    shown = torch.tensor([0])
    partner = faces.partners[shown, 0]
    assert faces.labels[partner] == NEUTRAL
    view = (shown, partner, faces.landmarks[shown])
    clips = MovingStills(faces)
    weak, strong = (
        clips.render(*view, torch.full((1,), share), torch.eye(3)[None], 112).float() for share in (0.0, 1.0)
    )
    own = clips.render(partner, partner, view[2], torch.ones(1), torch.eye(3)[None], 112).float()
    middle = (slice(None), slice(None), slice(50, 90), slice(36, 76))

    def likeness(first, second):
        return np.corrcoef(first[middle].flatten(), second[middle].flatten())[0, 1]

    assert likeness(weak, own) > 0.9 > likeness(strong, own) + 0.3
    # What is around the face stays the still's.
    torch.testing.assert_close(weak[..., :4], strong[..., :4], atol=2.0, rtol=0)


def test_the_shape_at_rest_keeps_the_person_and_loses_the_expression():
    generator = np.random.default_rng(0)
    people = drawn_face() + generator.normal(0, 1, (60, 1, 2)) + drawn_face() * generator.normal(0, 0.05, (60, 1, 1))
    smiling = people.copy()
    smiling[:, 48] += (-8, -5)
    smiling[:, 54] += (8, -5)
    marks = torch.from_numpy(np.concatenate([people, smiling])).float()
    neutral = torch.arange(120) < 60
    rest = shapes_at_rest(marks, neutral=neutral)
    torch.testing.assert_close(rest[60:], marks[:60], atol=1.0, rtol=0)
    with pytest.raises(ValueError, match="Expected a neutral face among the stills, found none"):
        shapes_at_rest(marks, neutral=neutral & False)


@pytest.mark.parametrize(("share", "frames"), [(0.0, 0), (0.25, 4), (0.5, 8), (0.75, 12)])
def test_the_share_of_noise_is_exact(faces, share, frames):
    _, script = scripts(faces, noise_share=share)
    assert script.off_target.sum(dim=1).unique().tolist() == [frames]


def test_without_a_share_clips_have_all_of_them_and_noise_of_every_kind(faces):
    indices, script = scripts(faces)
    assert script.off_target.sum(dim=1).unique().tolist() == [0, 4, 8, 12]
    is_neutral = faces.labels[indices] == NEUTRAL
    assert set(script.kinds[~is_neutral].unique().tolist()) == {NoiseKind.NONE, *ALL_KINDS}
    assert set(script.kinds[is_neutral].unique().tolist()) == {NoiseKind.NONE, *OF_NEUTRAL}


def test_noise_never_shows_the_clips_label_and_everything_else_does(faces):
    indices, script = scripts(faces)
    label = faces.labels[indices][:, None]
    shown = faces.labels[script.shown]
    of_others = (script.kinds == NoiseKind.SOMEBODY_ELSE) | (script.kinds == NoiseKind.OTHER_EXPRESSION)
    assert (shown != label)[of_others].all()
    assert (shown[script.kinds == NoiseKind.SOMEBODY_ELSE] == NEUTRAL).all()
    assert (shown[script.kinds == NoiseKind.OTHER_EXPRESSION] != NEUTRAL).all()
    assert (script.shown == indices[:, None])[~of_others].all()
    expressive = (label != NEUTRAL).expand_as(shown)
    assert (script.intensities[~script.off_target & expressive] > LEAST_INTENSITY).all()
    weak = script.kinds == NoiseKind.SAME_PERSON_NEUTRAL
    assert (script.intensities[weak] < LEAST_INTENSITY).all()
    assert (script.intensities[~expressive & ~of_others] == 0).all()


def test_no_other_expression_is_seen_more_often_than_the_clips_own(faces):
    indices, script = scripts(faces, noise_share=0.75, noise_kinds=[NoiseKind.OTHER_EXPRESSION])
    for label, shown in zip(faces.labels[indices], faces.labels[script.shown], strict=True):
        counts = shown.bincount(minlength=7)
        assert counts[label] == counts.max()


def test_an_expression_rises_to_one_peak_and_falls(faces):
    indices, script = scripts(faces, times=3, noise_share=0.0)
    for label, course in zip(faces.labels[indices], script.intensities, strict=True):
        if label == NEUTRAL:
            continue
        peak = course.argmax()
        assert course[peak] > 0.8
        assert (course[: peak + 1].diff() > 0).all()
        assert (course[peak:].diff() < 0).all()


def test_a_cover_hides_the_face():
    still = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), dtype=np.uint8)
    # The same pixels in another order: of the same mean.
    other = still[:, ::-1].copy()
    for seed in range(20):
        first, second = (
            clip_damage.cover_faces(frames, np.random.default_rng(seed))[:, 22:56, 18:46] for frames in (still, other)
        )
        np.testing.assert_array_equal(first, second)


def test_frames_without_a_face_show_nothing_of_the_still(faces):
    options = {"noise_share": 0.5, "noise_kinds": [NoiseKind.NO_FACE]}
    darker = dataclasses.replace(faces, images=255 - faces.images)
    first, second = (
        MovingStills(stills, **options).make(torch.tensor([0]), 48, seeded(), strength=0.0)
        for stills in (faces, darker)
    )
    hidden = first.script.kinds[0] == NoiseKind.NO_FACE
    np.testing.assert_array_equal(first.frames[0][hidden], second.frames[0][hidden])
    assert (first.frames[0][~hidden] != second.frames[0][~hidden]).mean() > 0.9


def test_the_same_clips_come_every_time(faces):
    clips = MovingStills(faces, noise_share=0.5)
    first = clips.batch(torch.tensor([0, 5, 9]), 32)
    second = clips.batch(torch.tensor([9, 5]), 32)
    for name, value in second.items():
        assert torch.equal(value, first[name][[2, 1]]), name
    assert first["pixel_values_videos"].shape == (3, 16, 3, 32, 32)
    assert first["labels"].tolist() == faces.labels[[0, 5, 9]].tolist()
    assert first["off_target"].sum(dim=1).tolist() == [8, 8, 8]
    no_face = first["noise_kind"] == NoiseKind.NO_FACE
    assert torch.equal(first["frame_labels"] == -1, no_face)


def test_training_clips_differ_and_carry_the_votes(faces):
    clips, generator, indices = MovingStills(faces), seeded(), torch.tensor([3, 4])
    first, second = (clips.training_batch(indices, 32, generator) for _ in range(2))
    assert not torch.equal(first["pixel_values_videos"], second["pixel_values_videos"])
    torch.testing.assert_close(first["labels"], faces.votes[indices])
    values = first["pixel_values_videos"]
    assert values.shape == (2, 16, 3, 32, 32)
    assert values.min() >= -2
    assert values.max() <= 2
    assert torch.equal(values[:, :, 0], values[:, :, 1])


def coloured(faces, persons=None):
    images = faces.images.numpy().repeat(3, axis=1)
    images[:, 1] = 0
    linear, shift = faces.crop_to_image[:, :, :2], faces.crop_to_image[:, None, :, 2]
    points = faces.landmarks @ linear.transpose(1, 2) + shift
    parts = (images, faces.crop_to_image.numpy(), faces.votes.numpy(), points.numpy())
    return MovableFaces.build(*parts, persons=persons)


def test_colours_stay(faces):
    clips = MovingStills(coloured(faces)).make(torch.tensor([0]), 32, seeded(), strength=0.0)
    on_target = clips.frames[0][~clips.script.off_target[0].numpy()]
    assert clips.frames.shape == (1, 16, 32, 32, 3)
    np.testing.assert_array_equal(on_target[..., 0], on_target[..., 2])
    assert on_target[..., 0].std() > 20
    assert not on_target[..., 1].any()


def test_a_person_rests_as_their_own_neutral_still_and_is_nobody_else(faces):
    # Six people in each class.
    persons = [f"person {index // 7}" for index in range(len(faces))]
    known = coloured(faces, persons)
    for index in range(len(known)):
        partners = known.partners[index]
        assert [persons[partner] for partner in partners] == [persons[index]] * len(partners)
        assert (known.labels[partners] == NEUTRAL).all()
        torch.testing.assert_close(known.rest[index], known.landmarks[partners[0]])
    indices, script = scripts(known, noise_kinds=[NoiseKind.SOMEBODY_ELSE])
    else_ = script.kinds == NoiseKind.SOMEBODY_ELSE
    assert (known.persons[script.shown] != known.persons[indices][:, None])[else_].all()


def test_shapes_that_do_not_fit_are_refused(faces):
    parts = [faces.images.numpy(), faces.crop_to_image.numpy(), faces.votes.numpy(), faces.landmarks.numpy()]
    with pytest.raises(ValueError, match=r"Expected `landmarks` of shape \(42, 68, 2\), got \(42, 5, 2\)"):
        MovableFaces.build(*parts[:3], parts[3][:, :5])


def test_kinds_of_noise_that_are_none_are_refused(faces):
    for kinds in ([], [NoiseKind.NONE]):
        with pytest.raises(ValueError, match="Expected `noise_kinds` among SAME_PERSON_NEUTRAL, SOMEBODY_ELSE"):
            MovingStills(faces, noise_kinds=kinds)


def test_a_bench_is_balanced_and_the_same_every_time(faces):
    first, second = (noise_bench_clips(faces, 0.5, NoiseKind.COVERED, per_class=2) for _ in range(2))
    assert len(first) == 14
    assert first.labels.bincount().tolist() == [2] * 7
    batch = first.batch(torch.arange(9, 11), 32)
    assert set(batch["noise_kind"].unique().tolist()) == {NoiseKind.NONE, NoiseKind.COVERED}
    assert batch["labels"].tolist() == first.labels[9:11].tolist()
    for name, value in second.batch(torch.arange(9, 11), 32).items():
        assert torch.equal(value, batch[name]), name


def test_clips_of_some_stills_are_those_of_all(faces):
    some, every = MovingStills(faces, chosen=torch.tensor([7, 3])), MovingStills(faces)
    assert len(some) == 2
    assert some.labels.tolist() == faces.labels[[7, 3]].tolist()
    for name, value in some.batch(torch.arange(2), 32).items():
        assert torch.equal(value, every.batch(torch.tensor([7, 3]), 32)[name]), name
    labels = some.training_batch(torch.tensor([1]), 32, seeded())["labels"]
    torch.testing.assert_close(labels, faces.votes[[3]])


def test_a_recipe_trains_on_moving_stills(corpus):
    config = TrainConfig(system="aen", data="moving_ferplus", stages=((32, 1, 1.0),), batch_size=2, learning_rate=0.1)
    data = build_data(config, corpus, fold=None, prepared_root=None)
    assert isinstance(data.training, MovingStills)
    assert isinstance(data.validation, MovingStills)
    assert len(data.training) == 42
    assert data.validation.batch(torch.tensor([0]), 32)["off_target"].sum() == 8
