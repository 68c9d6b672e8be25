"""A small dataset with its cache: clips of plain colours, which tell the class."""

import numpy as np

import training.data.sources
from dfer_hf.taxonomy import Emotion
from training.cache.prepared import Preparation, write_prepared
from training.datasets.corpus import Clip, Corpus, Split

LABELS = (Emotion.HAPPINESS, Emotion.SADNESS, Emotion.NEUTRAL)
NUM_FRAMES = {"train": 20, "test": 9}


def colour_clip(label, number, num_frames=20):
    """Frames whose colour is the class's and whose brightness is the frame's number."""
    frames = np.zeros((num_frames, 112, 112, 3), np.uint8)
    frames[..., label] = 100 + 5 * (number % 10)
    frames[..., (label + 1) % 3] = np.arange(num_frames)[:, None, None]
    return frames


def make_corpus(root, *, train=12, test=7, missing=(), failed=()):
    """Write the cache of a corpus, and return it and the corpus."""
    clips, arrays = {"train": [], "test": []}, {}
    for part, count in (("train", train), ("test", test)):
        for number in range(count):
            label = number % 3
            name = f"{part}/{number:03d}"
            clips[part].append(Clip(name, root / name, LABELS[label], person=f"{part}{number // 3}"))
            if name not in (*missing, *failed):
                arrays[name] = colour_clip(label, number)
    record = Preparation("colours", detector="mtcnn", alignment="arcface_112")
    errors = dict.fromkeys(failed, "NoFaceFoundError: Expected a face, but none was found.")
    write_prepared(root / "cache", arrays, record, errors=errors)
    split = Split("colours", None, LABELS, tuple(clips["train"]), tuple(clips["test"]), {"compound label": 2})
    corpus = Corpus("colours", "Colours", lambda _root, _fold: split, 1, {}, "made here")
    return corpus, root / "cache"


def name_colours(monkeypatch, root, **options):
    """Make a corpus that recipes may name `colours`, and return where it and its cache are."""
    corpus, cache = make_corpus(root, **options)
    monkeypatch.setitem(training.data.sources.CORPORA, "colours", corpus)
    return {"data_root": root, "prepared_root": cache}


def make_folds(root, *, count=12, low_light=False):
    """Write the cache of a corpus of two folds, and return it and the corpus: every second clip is tested in each."""
    arrays = {f"{number:03d}": colour_clip(number % 3, number) for number in range(count)}
    clips = tuple(Clip(name, root / name, LABELS[int(name) % 3]) for name in arrays)
    record = Preparation("folds", detector="mtcnn", alignment="arcface_112", low_light=low_light)
    write_prepared(root / "cache", arrays, record)

    def load(_root, fold):
        test = clips[fold - 1 :: 2]
        return Split("folds", fold, LABELS, tuple(clip for clip in clips if clip not in test), test)

    return Corpus("folds", "Folds", load, 2, {}, "made here"), root / "cache"
