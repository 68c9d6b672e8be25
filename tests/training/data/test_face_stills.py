import numpy as np
import pytest
import torch

from dfer_hf.faces.alignment import ARCFACE_TEMPLATE
from training.data.face_stills import FaceStills, compressed, seen_small
from training.data.still_dataset import StillSource
from training.data.transforms import alignment_matrices
from training.datasets.face_bank import MARGIN, WIDE_SIZE, FaceBank, cut_wide
from training.datasets.ferplus import load_ferplus
from training.prepare_faces import FIRST_LABEL_SHARE, ferplus_bank

MOVEMENTS = 52


def write_blendshapes(path, names, value):
    np.savez(path, image=np.array(names), scores=np.full((len(names), MOVEMENTS), value, dtype=np.float16))


@pytest.fixture(scope="module")
def grey(corpus, tmp_path_factory):
    """FER+ in miniature; every face but the last has blendshapes of 0.25."""
    path = tmp_path_factory.mktemp("blendshapes") / "ferplus_train.npz"
    write_blendshapes(path, load_ferplus(corpus, "train").names[:-1], 0.25)
    return ferplus_bank(corpus, "train", path)


@pytest.fixture(scope="module")
def colour():
    """Three faces in colour, cut out wide: red, green and blue all over, of the classes 0, 0 and 1."""
    images = np.zeros((3, 3, WIDE_SIZE, WIDE_SIZE), dtype=np.uint8)
    images[range(3), range(3)] = 200
    labels = np.array([0, 0, 1])
    return FaceBank(
        images=images,
        crop_to_image=np.tile(np.array([[1, 0, MARGIN], [0, 1, MARGIN]], np.float32), (3, 1, 1)),
        labels=labels,
        votes=np.eye(7, dtype=np.float32)[labels],
        landmarks=np.zeros((3, 68, 2), dtype=np.float32),
        blendshapes=np.full((3, MOVEMENTS), np.nan, dtype=np.float32),
        names=np.array(["red", "green", "blue"]),
    )


def draw(source, indices, seed=0, strength=1.0):
    generator = torch.Generator().manual_seed(seed)
    return source.training_batch(torch.as_tensor(indices), 32, generator, strength=strength)


def test_a_bank_is_read_as_it_was_saved(grey, tmp_path):
    grey.save(tmp_path / "bank")
    again = FaceBank.load(tmp_path / "bank")
    for name in ("images", "crop_to_image", "labels", "votes", "blendshapes", "names"):
        np.testing.assert_array_equal(getattr(again, name), getattr(grey, name))
    (tmp_path / "bank" / "votes.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected votes\.npy .*prepare_faces"):
        FaceBank.load(tmp_path / "bank")


def test_the_first_label_has_its_share_of_the_target(corpus, grey, tmp_path):
    faces = load_ferplus(corpus, "train")
    first = np.where(faces.first_labels < 0, faces.labels, faces.first_labels)
    expected = (1 - FIRST_LABEL_SHARE) * faces.votes + FIRST_LABEL_SHARE * np.eye(7)[first]
    np.testing.assert_allclose(grey.votes, expected, atol=1e-6)
    write_blendshapes(tmp_path / "valid.npz", [], 0)
    np.testing.assert_array_equal(
        ferplus_bank(corpus, "valid", tmp_path / "valid.npz").votes, load_ferplus(corpus, "valid").votes
    )


def test_inference_sees_the_faces_of_a_bank_as_it_sees_stills(corpus, grey):
    stills, source = StillSource(load_ferplus(corpus, "train")), FaceStills([grey], shares=[1.0], balance=0.0)
    indices = torch.arange(5)
    ours, theirs = source.batch(indices, 48), stills.batch(indices, 48)
    torch.testing.assert_close(ours["pixel_values_videos"], theirs["pixel_values_videos"])
    assert torch.equal(ours["labels"], theirs["labels"])


def test_colours_become_luma_in_inference_and_other_greys_in_training(colour):
    source = FaceStills([colour], shares=[1.0], balance=0.0)
    views = source.cut(torch.arange(3), source.crop_to_image, 32, torch.Generator(), mixed=False)
    for view, weight in zip(views, (0.299, 0.587, 0.114), strict=True):
        torch.testing.assert_close(view, torch.full_like(view, weight * 200 / 255))
    mixed = source.cut(torch.zeros(50).long(), source.crop_to_image[[0] * 50], 32, torch.Generator(), mixed=True)
    tones = mixed.mean(dim=(1, 2, 3)) * 255 / 200
    assert tones.std() > 0.02
    assert 0.05 < tones.min() < tones.max() < 0.7


def test_batches_hold_faces_of_both_banks_with_their_targets(grey, colour):
    source = FaceStills([grey, colour], shares=[1.0, 1.0], balance=0.0)
    chosen = [len(grey), 0, len(grey) - 1]
    batch = draw(source, chosen)
    assert batch["pixel_values_videos"].shape == (3, 1, 3, 32, 32)
    np.testing.assert_allclose(batch["labels"], np.stack([colour.votes[0], grey.votes[0], grey.votes[-1]]))
    assert batch["blendshapes"].isnan().all(dim=1).tolist() == [True, False, True]
    assert torch.equal(batch["pixel_values_videos"], draw(source, chosen)["pixel_values_videos"])
    assert not torch.equal(batch["pixel_values_videos"], draw(source, chosen, seed=1)["pixel_values_videos"])


def test_shares_are_of_banks_and_the_balance_is_of_classes_within_one(grey, colour):
    weights = FaceStills([grey, colour], shares=[3.0, 1.0], balance=1.0).sampling_weights
    assert weights[: len(grey)].sum() == pytest.approx(3.0)
    # The two faces of a class share what the one of the other class has.
    np.testing.assert_allclose(weights[len(grey) :], [0.25, 0.25, 0.5])


def test_a_face_that_is_seen_small_loses_detail_and_others_keep_it():
    generator = torch.Generator().manual_seed(0)
    views = torch.rand((40, 1, 112, 112), generator=generator)
    small = seen_small(views, generator, chance=0.5)
    changed = (small != views).flatten(1).any(dim=1)
    assert 10 <= changed.sum() <= 30
    assert (small[changed].flatten(1).std(dim=1) < views[changed].flatten(1).std(dim=1)).all()


def test_compression_changes_some_views_a_little():
    generator = torch.Generator().manual_seed(0)
    y, x = torch.meshgrid(torch.linspace(0, 9, 64), torch.linspace(0, 9, 64), indexing="ij")
    views = ((x.sin() * y.cos()) * 0.4 + 0.5).expand(40, 1, 64, 64)
    after = compressed(views, generator, chance=0.5)
    changed = (after - views).abs().amax(dim=(1, 2, 3)) > 0.01
    assert 10 <= changed.sum() <= 30
    assert (after - views).abs().mean() < 0.05


def test_points_of_an_image_lie_on_the_template_of_the_crop():
    points = (ARCFACE_TEMPLATE * 0.5 + (7, 3))[None]
    matrix = alignment_matrices(points)[0].numpy()
    np.testing.assert_allclose(ARCFACE_TEMPLATE @ matrix[:, :2].T + matrix[:, 2], points[0], atol=1e-4)


def test_the_middle_of_a_wide_crop_is_the_aligned_crop():
    picture = np.random.default_rng(0).integers(0, 255, (200, 220, 3), dtype=np.uint8)
    points = np.add(ARCFACE_TEMPLATE, (60, 50))
    wide = cut_wide(picture, points)
    inner = wide[MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert wide.shape == (WIDE_SIZE, WIDE_SIZE, 3)
    np.testing.assert_array_equal(inner, picture[50:162, 60:172])
