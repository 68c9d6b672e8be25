import csv
import io
import json
import multiprocessing
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from dfer_hf import DferVideoProcessor, __version__
from dfer_hf.video.sampling import Sampling
from training.cache import shards
from training.cache.prepared import (
    CutShortError,
    Preparation,
    PreparationMismatchError,
    PreparedClips,
    UnknownFormatError,
    write_prepared,
)
from training.cache.shards import CacheError, CacheWriter, ClipDetails, frame_bytes, key_of
from training.config import Normalisation
from training.data.sources import build_processor

RECORD = Preparation("made_up", "mtcnn", "arcface_112", settings={"thresholds": (0.6, 0.7)})
LENGTHS = {"train/a b.mp4": 9, "train/a.b.mp4": 1, "Überraschung": 30, "怒り": 4, "last": 12}


@pytest.fixture(scope="module")
def arrays():
    generator = np.random.default_rng(0)
    return {
        name: generator.integers(0, 256, (length, 112, 112, 3), dtype=np.uint8) for name, length in LENGTHS.items()
    }


@pytest.fixture
def root(tmp_path, arrays):
    """A cache of five clips in shards of two or fewer, and of one that failed."""
    cache = tmp_path / "cache"
    write_prepared(cache, arrays, RECORD, errors={"lost": "no face,\nat all"}, shard_bytes=500_000)
    return cache


def test_frames_are_read_as_they_were_written(root, arrays):
    prepared = PreparedClips(root)
    assert prepared.names == list(LENGTHS)
    assert len(prepared) == 5
    for name, crops in arrays.items():
        assert prepared.num_frames(name) == prepared.num_with_face(name) == len(crops)
        np.testing.assert_array_equal(prepared.read(name, range(len(crops))), crops)
    chosen = [29, 3, 3, 0]
    read = prepared.read("Überraschung", chosen)
    assert (read.dtype, read.shape) == (np.uint8, (4, 112, 112, 3))
    np.testing.assert_array_equal(read, arrays["Überraschung"][chosen])


def test_what_is_read_can_be_changed_and_the_cache_cannot(root, arrays):
    prepared = PreparedClips(root)
    prepared.read("last", [0])[:] = 7
    np.testing.assert_array_equal(prepared.read("last", [0]), arrays["last"][:1])


def test_shards_are_those_of_webdataset(root, arrays):
    samples = {}
    for path in sorted(root.glob("shard-*.tar")):
        with tarfile.open(path) as shard:
            for member in shard:
                key, _, extension = member.name.partition(".")
                assert "/" not in key
                samples.setdefault(key, {})[extension] = shard.extractfile(member).read()
    assert list(samples) == [key_of(name) for name in LENGTHS]
    for (name, crops), sample in zip(arrays.items(), samples.values(), strict=True):
        assert list(sample) == ["json", "npy"]
        assert json.loads(sample["json"])["name"] == name
        np.testing.assert_array_equal(np.load(io.BytesIO(sample["npy"]), allow_pickle=False), crops)


def test_a_shard_is_left_when_the_next_clip_would_pass_its_size(root):
    with (root / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "shard", "offset", "num_frames", "num_with_face", "error"]
    assert [row["shard"][-5:-4] for row in rows] == ["0", "0", "1", "2", "3", ""]
    sizes = [path.stat().st_size for path in sorted(root.glob("shard-*.tar"))]
    # A clip that is larger than a shard gets one of its own.
    assert sizes[1] > 500_000
    assert all(size < 500_000 + 1024 for size in [sizes[0], *sizes[2:]])


def test_the_record_comes_back(root):
    record = PreparedClips(root).record
    assert (record.corpus, record.detector, record.alignment) == ("made_up", "mtcnn", "arcface_112")
    assert (record.low_light, record.crop_size, record.dfer_hf_version) == (False, 112, __version__)
    assert record.settings == {"thresholds": [0.6, 0.7]}


class Frames:
    """A dataset for a loader: the sum of three frames of each clip."""

    def __init__(self, prepared):
        self.prepared = prepared

    def __len__(self):
        return len(self.prepared)

    def __getitem__(self, index):
        name = self.prepared.names[index]
        last = self.prepared.num_frames(name) - 1
        return int(self.prepared.read(name, [0, last // 2, last]).sum())


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_of_a_loader_read_the_same(root, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"{method} is not known on this system")
    frames = Frames(PreparedClips(root))
    # Its shards are mapped by now.
    here = [frames[index] for index in range(len(frames))]
    loader = DataLoader(frames, batch_size=None, num_workers=2, multiprocessing_context=method)
    assert list(loader) == here


def test_a_pickle_holds_no_pixels(root):
    prepared = PreparedClips(root)
    prepared.read("last", range(12))
    pickled = pickle.dumps(prepared)
    assert len(pickled) < frame_bytes(112)
    assert pickle.loads(pickled).read("last", [1]).shape == (1, 112, 112, 3)


def test_only_the_frames_asked_for_are_touched(tmp_path):
    crops = np.full((2000, 112, 112, 3), 9, np.uint8)
    write_prepared(tmp_path / "cache", {"long": crops}, RECORD)
    prepared = PreparedClips(tmp_path / "cache")
    before = resident_bytes()
    assert (prepared.read("long", [1500]) == 9).all()
    assert resident_bytes() - before < 20_000_000  # of 75 MB


def resident_bytes():
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
    except FileNotFoundError:
        pytest.skip("the memory of a process can only be read on Linux")


def test_a_clip_that_is_not_there_is_named_with_the_reason(root):
    prepared = PreparedClips(root)
    assert "lost" not in prepared
    assert prepared.errors == {"lost": "no face, at all"}
    with pytest.raises(KeyError, match=r"'lost'.*no face, at all.*--retry"):
        prepared.num_frames("lost")
    with pytest.raises(KeyError, match=r"'nobody'.*same output"):
        prepared.read("nobody", [0])


@pytest.mark.parametrize("indices", [[12], [-1], [0, 3, 99]])
def test_frames_beyond_the_clip_are_refused(root, indices):
    with pytest.raises(IndexError, match="0 to 11 of 'last'"):
        PreparedClips(root).read("last", indices)


def test_no_frames_of_a_clip_are_an_empty_array(root):
    assert PreparedClips(root).read("last", []).shape == (0, 112, 112, 3)


@pytest.mark.parametrize("lost_bytes", [2000, 300_000, None])
def test_a_cache_that_was_cut_short_is_named(root, lost_bytes):
    shard = root / "shard-00003.tar"
    if lost_bytes is None:
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-lost_bytes])
    with pytest.raises(CutShortError, match=r"shard-00003\.tar.*cut short.*again"):
        PreparedClips(root)


def test_an_index_row_that_was_never_finished_is_no_clip(root):
    index = root / "index.csv"
    index.write_bytes(index.read_bytes() + b"half,shard-00009.tar,12")
    assert PreparedClips(root).names == list(LENGTHS)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"format_version": 2}, UnknownFormatError, "format version 1 in .*got 2"),
        ({"format_version": None}, UnknownFormatError, "got None"),
        ({"crop_size": 0}, CacheError, "`crop_size` of 1 pixel or more .*, got 0"),
        ({"detektor": "mtcnn"}, CacheError, "got .*detektor"),
    ],
)
def test_another_record_is_refused(root, change, error, message):
    path = root / "preparation.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(error, match=message):
        PreparedClips(root)


def test_a_folder_that_is_no_cache_is_named(root, tmp_path):
    with pytest.raises(CacheError, match=r"preparation\.json at .*--output"):
        PreparedClips(tmp_path / "empty")
    (root / "preparation.json").write_text("{", encoding="utf-8")
    with pytest.raises(CacheError, match="JSON"):
        PreparedClips(root)


def test_an_index_of_other_columns_or_fields_is_named(root):
    index = root / "index.csv"
    rows = index.read_text(encoding="utf-8")
    index.write_text(rows.replace("num_frames", "frames"), encoding="utf-8")
    with pytest.raises(CacheError, match="columns name, shard, offset"):
        PreparedClips(root)
    index.write_text(rows + "a clip,shard-00000.tar,many,3,3,\n", encoding="utf-8")
    with pytest.raises(CacheError, match="line 8"):
        PreparedClips(root)
    index.unlink()
    with pytest.raises(CacheError, match=r"index\.csv in"):
        PreparedClips(root)


def test_a_processor_prepared_alike_is_taken(root):
    PreparedClips(root).check_processor(DferVideoProcessor())


@pytest.mark.parametrize("wanted", [{"alignment": "openface"}, {"detector": "retinaface"}])
def test_a_processor_that_wants_other_crops_is_refused(root, wanted):
    (value,) = wanted.values()
    with pytest.raises(PreparationMismatchError, match=rf"prepared with .*{value!r}, as .*--alignment"):
        PreparedClips(root).check_processor(DferVideoProcessor(**wanted))


def test_a_cache_may_hold_larger_crops_which_the_checkpoint_remembers(tmp_path):
    crops = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    record = Preparation("dfew", "corpus", "corpus", crop_size=224)
    prepared = write_prepared(tmp_path / "cache", {"a": crops}, record)
    np.testing.assert_array_equal(prepared.read("a", [2, 0]), crops[[2, 0]])
    prepared.check_crops("corpus", 224)
    with pytest.raises(PreparationMismatchError, match=r"--alignment arcface_112 --crop-size 112`.*crops.size=224"):
        prepared.check_crops("arcface_112", 112)
    processor = build_processor(prepared.record, Normalisation(), Sampling())
    processor.save_pretrained(tmp_path / "processor")
    processor = DferVideoProcessor.from_pretrained(tmp_path / "processor")
    prepared.check_processor(processor)
    small = write_prepared(tmp_path / "small", {"a": crops[:, :112, :112]}, Preparation("dfew", "corpus", "corpus"))
    with pytest.raises(PreparationMismatchError, match=r"crop_size 224.*and `--crop-size 224`"):
        small.check_processor(processor)


def test_crops_of_the_corpus_want_a_processor_of_the_corpus(tmp_path):
    crops = {"a": np.zeros((1, 112, 112, 3), np.uint8)}
    prepared = write_prepared(tmp_path / "cache", crops, Preparation("dfew", "corpus", "corpus"))
    prepared.check_processor(DferVideoProcessor(detector="corpus", alignment="corpus"))
    with pytest.raises(PreparationMismatchError, match=r"--alignment arcface_112.*train a model on this cache"):
        prepared.check_processor(DferVideoProcessor())


@pytest.mark.parametrize(
    "crops",
    [
        np.zeros((2, 96, 96, 3), np.uint8),
        np.zeros((2, 112, 112, 3), np.float32),
        np.zeros((0, 112, 112, 3), np.uint8),
        np.zeros((2, 3, 112, 112), np.uint8),
    ],
)
def test_other_arrays_are_refused(tmp_path, crops):
    with pytest.raises(CacheError, match="crops of 'odd' as uint8"):
        write_prepared(tmp_path / "cache", {"odd": crops}, RECORD)


def test_a_clip_is_added_once(root, arrays):
    with pytest.raises(CacheError, match="'last' again"):
        write_prepared(root, {"last": arrays["last"]}, RECORD)


def test_what_is_written_can_be_read_while_more_is_added(root, arrays, monkeypatch):
    # Fewer bytes than Python's files buffer.
    monkeypatch.setattr(shards, "_COPY_BYTES", 1000)
    crops = arrays["last"]
    with CacheWriter(root, shard_bytes=500_000) as writer:
        content = io.BytesIO()
        np.save(content, crops)
        content.seek(0)
        frames = tuple(range(12))
        writer.add(content, ClipDetails("new", frames, (True, False) * 6, tuple(map(float, frames))))
        prepared = PreparedClips(root)
        np.testing.assert_array_equal(prepared.read("new", frames), crops)
        assert prepared.num_with_face("new") == 6


def test_two_writers_at_once_are_refused(root):
    pytest.importorskip("fcntl", reason="files are locked by fcntl")
    with CacheWriter(root), pytest.raises(CacheError, match="another run is writing"):
        CacheWriter(root)
    CacheWriter(root).close()
