import dataclasses

import numpy as np
import pytest

import training.synthetic.faces
import training.synthetic.ict_facekit
from dfer_hf.faces.alignment import CROP_SIZE, five_points_of_68, similarity_transform
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.synthetic.face_paint import distance_to_line, is_inside
from training.synthetic.faces import WINDOW, FaceRenderer, draw_expression, draw_scene, load_renders, render_shard
from training.synthetic.ict_facekit import Part, load_face_kit

from ..face_kits import tiny_kit

SIZE = 64


@pytest.fixture(scope="module")
def renderer():
    return FaceRenderer(tiny_kit(), SIZE)


def scene_of(renderer, seed=0, **fields):
    scene = draw_scene(renderer.kit, np.random.default_rng(seed), {})
    return dataclasses.replace(scene, **fields)


def test_the_same_scene_gives_the_same_picture(renderer):
    first, again, other = (renderer.render(scene_of(renderer, seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.points, again.points)
    assert first.rgb.shape == (SIZE, SIZE, 3)
    assert (first.rgb != other.rgb).mean() > 0.5


@pytest.mark.parametrize("seed", range(4))
def test_faces_are_aligned_in_the_middle_of_the_picture(renderer, seed):
    points = renderer.render(scene_of(renderer, seed)).points
    to_crop = similarity_transform(five_points_of_68(points))
    np.testing.assert_allclose(to_crop[:, :2], np.eye(2) * CROP_SIZE * WINDOW / SIZE, atol=1e-5)
    middle = to_crop @ ((SIZE - 1) / 2, (SIZE - 1) / 2, 1)
    np.testing.assert_allclose(middle, (CROP_SIZE - 1) / 2, atol=1e-3)


def gap_to_what_is_seen(landmark):
    """From a landmark to the middle of a bright square that is drawn around it on a dark face, in pixels."""
    kit = tiny_kit()
    place = kit.neutral[kit.landmarks[landmark]]
    mark = place + np.array([(-0.4, -0.4, 1), (0.4, -0.4, 1), (0.4, 0.4, 1), (-0.4, 0.4, 1)], np.float32)
    first = len(kit.neutral)
    kit = dataclasses.replace(
        kit,
        neutral=np.concatenate([kit.neutral, mark]),
        triangles=np.concatenate([kit.triangles, first + np.array([(0, 1, 2), (0, 2, 3)])]),
        parts=np.concatenate([kit.parts, [Part.TEETH] * 4]),
        identities=np.zeros((1, first + 4, 3), np.float32),
        expressions={name: np.zeros((first + 4, 3), np.float32) for name in kit.expressions},
    )
    renderer = FaceRenderer(kit, SIZE)
    scene = scene_of(renderer, pose=(0.0, 0.0, 0.3), distance=1e4, background=np.zeros((2, 2, 3), np.float32))
    black = dict.fromkeys(("skin", "lips", "hair", "iris"), np.zeros(3))
    look = dataclasses.replace(scene.look, **black, gloss=0.0, blotches=0.0, flush=0.0)
    light = dataclasses.replace(scene.light, exposure=0.002)
    picture = renderer.render(dataclasses.replace(scene, look=look, light=light))
    x, y = picture.points[landmark]
    top, left = int(y) - 4, int(x) - 4
    bright = (picture.rgb[top : top + 10, left : left + 10].mean(axis=-1) - 60).clip(0)
    rows, columns = np.mgrid[:10, :10]
    seen = np.array([(bright * columns).sum(), (bright * rows).sum()]) / bright.sum() + (left, top)
    return seen - (x, y)


def test_a_landmark_is_where_its_vertex_is_seen():
    gaps = np.array([gap_to_what_is_seen(landmark) for landmark in (3, 5, 8, 11, 12, 13, 14, 30, 49, 51, 53, 57)])
    # The square has corners between the samples.
    np.testing.assert_allclose(gaps, 0, atol=0.3)
    np.testing.assert_allclose(gaps.mean(axis=0), 0, atol=0.1)


def test_yaw_pitch_and_roll_turn_the_head_as_they_say(renderer):
    still = scene_of(renderer, pose=(0.0, 0.0, 0.0))
    marks = renderer.project(renderer.vertices(still)[renderer.kit.landmarks], still)[0]
    framing = renderer.framing(marks)

    def points(pose):
        return renderer.render(dataclasses.replace(still, pose=pose), framing).points

    level, right, down, clockwise = (
        points(pose) for pose in [(0.0, 0.0, 0.0), (0.3, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.3)]
    )
    assert right[30, 0] > level[30, 0] + 1
    assert down[30, 1] > level[30, 1] + 1
    assert clockwise[8, 0] < level[8, 0] - 1


def test_blend_shapes_and_identity_move_the_landmarks(renderer):
    scene = scene_of(renderer, shapes={}, identity=np.zeros(3, np.float32))
    rest = renderer.vertices(scene)
    np.testing.assert_array_equal(rest, renderer.kit.neutral)
    open_mouth = renderer.vertices(dataclasses.replace(scene, shapes={"jawOpen": 0.5}))
    np.testing.assert_allclose(open_mouth - rest, 0.5 * renderer.kit.expressions["jawOpen"], atol=1e-5)
    person = renderer.vertices(dataclasses.replace(scene, identity=np.array([0, 2, 0], np.float32)))
    np.testing.assert_allclose(person - rest, 2 * renderer.kit.identities[1], atol=1e-5)


def test_a_brighter_exposure_makes_a_brighter_face(renderer):
    scene = scene_of(renderer)
    dark, bright = (
        renderer.render(dataclasses.replace(scene, light=dataclasses.replace(scene.light, exposure=exposure))).rgb
        for exposure in (0.05, 0.6)
    )
    assert bright[24:40, 24:40].mean() > dark[24:40, 24:40].mean() + 40


def test_expressions_are_drawn_of_all_seven(renderer):
    generator = np.random.default_rng(0)
    drawn = [draw_expression(generator) for _ in range(100)]
    assert {emotion for emotion, _, _ in drawn} == set(SEVEN_EMOTIONS)
    assert all(0 <= intensity <= 1 for _, intensity, _ in drawn)
    for _, _, shapes in drawn[:10]:
        assert draw_scene(renderer.kit, generator, shapes).shapes.keys() <= renderer.kit.expressions.keys()


def test_inside_and_distance_of_a_square():
    square = np.array([(0, 0), (2, 0), (2, 2), (0, 2)], float)
    places = np.array([(1, 1), (1.5, 0.5), (3, 1), (-1, 1), (1, 5)])
    assert is_inside(places, square).tolist() == [True, True, False, False, False]
    np.testing.assert_allclose(distance_to_line(places, np.vstack([square, square[:1]])), [1, 0.5, 1, 1, 3])


def test_shards_are_written_whole_and_read_again(monkeypatch, tmp_path):
    monkeypatch.setattr(training.synthetic.faces, "SHARD", 3)
    monkeypatch.setattr(training.synthetic.faces, "PICTURE_SIZE", SIZE)
    monkeypatch.setattr(training.synthetic.faces, "load_face_kit", lambda _: tiny_kit())
    with pytest.raises(FileNotFoundError, match=r"draw them with python -m training.synthetic.faces"):
        load_renders(tmp_path)
    for shard in (0, 1):
        render_shard(tmp_path / "unused.npz", tmp_path, shard)
    (tmp_path / "0002.part.npz").write_bytes(b"cut off")
    images, points = load_renders(tmp_path)
    assert images.shape[0] == 6
    assert points.shape == (6, 68, 2)
    with np.load(tmp_path / "0001.npz") as archive:
        np.testing.assert_array_equal(images[3:], archive["images"])
        assert archive["emotions"].max() < 7


def test_the_face_model_is_read_without_its_transparent_parts(monkeypatch, tmp_path):
    # Vertex 3 is left out.
    ranges = ((0, 3, Part.FACE), (4, 8, Part.EYE))
    monkeypatch.setattr(training.synthetic.ict_facekit, "VERTEX_RANGES", ranges)
    monkeypatch.setattr(training.synthetic.ict_facekit, "NUM_VERTICES", 8)
    neutral = np.arange(24, dtype=np.float32).reshape(8, 3)
    path = tmp_path / "kit.npz"
    np.savez(
        path,
        neutral=neutral,
        faces=np.array([(0, 1, 2, -1), (4, 5, 6, 7), (1, 2, 3, -1)], np.int32),
        expressions=np.stack([neutral, 2 * neutral]).astype(np.float16),
        expression_names=np.array(["jawOpen", "mouthSmile_L"]),
        identities=(3 * neutral[None]).astype(np.float16),
        landmarks68=np.full(68, 5, np.int32),
    )
    kit = load_face_kit(path)
    kept = [0, 1, 2, 4, 5, 6, 7]
    np.testing.assert_array_equal(kit.neutral, neutral[kept])
    assert {tuple(triangle) for triangle in kit.triangles} == {(0, 1, 2), (3, 4, 5), (3, 5, 6)}
    assert kit.parts.tolist() == [Part.FACE] * 3 + [Part.EYE] * 4
    np.testing.assert_array_equal(kit.expressions["mouthSmile_L"], 2 * neutral[kept])
    np.testing.assert_array_equal(kit.identities[0], 3 * neutral[kept])
    assert kit.landmarks.tolist() == [4] * 68

    with pytest.raises(FileNotFoundError, match="Expected the face model"):
        load_face_kit(tmp_path / "absent.npz")
    monkeypatch.setattr(training.synthetic.ict_facekit, "NUM_VERTICES", 9)
    with pytest.raises(ValueError, match="Expected 9 vertices, got 8"):
        load_face_kit(path)
