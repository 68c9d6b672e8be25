"""Build a recipe's data: training and validation samples, and the processor that brings pixels to the model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dfer_hf
from dfer_hf.faces.alignment import CROP_SIZE
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from dfer_hf.video.sampling import Sampling
from training.cache.prepared import CROP_SIZE_FIELD, Preparation, PreparedClips
from training.config import Augmentation, Normalisation, TrainConfig
from training.data.classes import choose_classes
from training.data.clip_dataset import ClipSource, Sample, count_failures, find_prepared, list_samples
from training.data.clips_from_stills import StillClips
from training.data.face_stills import FaceStills
from training.data.frame_dataset import VideoFrames
from training.data.movable_faces import movable_ferplus
from training.data.moving_mix import MovingMix
from training.data.moving_stills import MovingStills
from training.data.protocols import Source, TrainingSource
from training.data.still_dataset import StillSource
from training.data.validation import cut_validation
from training.datasets.corpus import Clip, Split
from training.datasets.face_bank import FaceBank
from training.datasets.ferplus import load_ferplus
from training.datasets.folds import name_fold
from training.datasets.registry import CORPORA, find_corpus
from training.disk import plain_hash

NEUTRAL = SEVEN_EMOTIONS.index(Emotion.NEUTRAL)
VALIDATION_CLIPS = 150
FERPLUS = ("ferplus_stills", "ferplus_clips", "moving_ferplus")
FACES = ("faces", "moving_faces")


@dataclass(frozen=True)
class Data:
    """The data of a run.

    Args:
        training: Samples that weights are learnt from.
        validation: Samples that choose the epoch; None where the recipe keeps the last.
        label_names: Classes in the order of the labels.
        processor: How inference treats crops; it becomes part of the checkpoint.
        record: What `run.json` says of the data: corpus, fold, how many clips each part of the split has and a hash of
            their names, what was left out and why, and hashes of the cache and of how it was prepared.
        clips: Names of the clips that are learnt from or choose the epoch, by part: `training` and `validation`.
    """

    training: TrainingSource
    validation: Source | None
    label_names: tuple[str, ...]
    processor: dfer_hf.DferVideoProcessor
    record: Mapping[str, Any]
    clips: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = [f"{part} {content['clips']}" for part, content in self.record["split"].items()]
        said = f"{self.record['corpus']}{name_fold(self.record['fold'])}: clips of {', '.join(counts)}"
        return "; ".join([said, *left_out_sentences(self.record["left_out"])])


def build_data(config: TrainConfig, data_root: Path, *, fold: int | None, prepared_root: Path | None) -> Data:
    """Read the recipe's data.

    Raises:
        ValueError: If the recipe names unknown data, or a dataset comes without its cache.
    """
    if config.data in FERPLUS:
        return ferplus_data(config, data_root)
    if config.data in FACES:
        return faces_data(config, data_root)
    if config.data not in CORPORA:
        known = ", ".join((*FERPLUS, *FACES, *CORPORA))
        raise ValueError(f"Expected `data` to be one of {known}, got {config.data!r}.")
    if prepared_root is None:
        raise ValueError(
            f"Expected the cache of {config.data}'s face crops. Make it with python -m training.prepare, and pass its "
            "folder as --prepared."
        )
    split = choose_classes(find_corpus(config.data).load(data_root, fold), config.classes)
    prepared = PreparedClips(prepared_root)
    if config.crops is not None:
        prepared.check_crops(config.crops.alignment, config.crops.size)
    processor = build_processor(prepared.record, config.normalisation, config.sampling)
    found = find_prepared(split.train, prepared)[0]
    long_enough = [clip for clip in found if prepared.num_frames(clip.name) >= config.minimum_frames]
    samples, label_names = list_samples(long_enough, split.label_names), split.label_names
    held_out: list[Sample] | None = None
    if config.select == "validation":
        samples, held_out = cut_validation(samples, config.validation_share, config.seed)
    elif config.select == "test":
        held_out = list_samples(find_prepared(split.test, prepared)[0], label_names)

    parts = {"training": list(dict.fromkeys(sample.name for sample in samples))}
    if config.select == "validation":
        parts["validation"] = list(dict.fromkeys(sample.name for sample in held_out or ()))

    def source(chosen: Sequence[Sample], sampling: Sampling) -> ClipSource:
        return ClipSource(
            chosen, label_names, prepared, processor,
            sampling=sampling, augmentation=config.augmentation, balance=config.balance,
        )  # fmt: skip

    return Data(
        training=source(samples, config.sampling),
        validation=None if held_out is None else source(held_out, processor.sampling),
        label_names=label_names,
        processor=processor,
        record=describe_data(split, prepared, parts, too_short=len(found) - len(long_enough)),
        clips=parts,
    )


def describe_data(
    split: Split, prepared: PreparedClips, parts: Mapping[str, Sequence[str]], *, too_short: int = 0
) -> dict[str, Any]:
    """Describe the data of a run for `run.json`, as plain values.

    Args:
        split: One division of a corpus.
        prepared: Its cache.
        parts: Names of the clips that are learnt from or choose the epoch, by part.
        too_short: How many training clips have fewer frames than the recipe wants.
    """
    test = [clip.name for clip in split.test]
    failed = {
        part: count_failures(clips, prepared) for part, clips in (("training", split.train), ("test", split.test))
    }
    preparation = prepared.record.described()
    return {
        "corpus": split.corpus,
        "fold": split.fold,
        "split": {
            part: {"clips": len(names), "sha256": names_hash(names)} for part, names in {**parts, "test": test}.items()
        },
        "left_out": {
            "annotation": dict(split.left_out),
            **{part: dict(sorted(reasons.items())) for part, reasons in failed.items()},
            **({"too_short": {"of fewer frames than the recipe's `minimum_frames`": too_short}} if too_short else {}),
        },
        "cache": {
            "sha256": prepared.digest(clip.name for clip in (*split.train, *split.test)),
            "preparation_sha256": plain_hash(preparation),
            "preparation": preparation,
        },
    }


def left_out_sentences(left_out: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Say what was left out, by the annotation and by the preparation of each part; nothing where nothing was."""
    causes = {
        "annotation": "left out because of the annotation",
        "training": "training clips left out because they could not be prepared",
        "test": "test clips left out because they could not be prepared",
        "too_short": "training clips left out because they are short",
    }
    return [
        f"{sum(reasons.values())} {causes[part]} ({', '.join(f'{count} {why}' for why, count in reasons.items())})"
        for part, reasons in left_out.items()
        if reasons
    ]


def names_hash(names: Iterable[str]) -> str:
    """Hash names, in whatever order they come."""
    return plain_hash(sorted(set(names)))


def build_test_source(
    clips: Sequence[Clip],
    label_names: Sequence[str],
    prepared: PreparedClips,
    processor: dfer_hf.DferVideoProcessor,
    model: DferPreTrainedModel,
) -> ClipSource | VideoFrames:
    """Build the source that a checkpoint is measured on: clips, or whole videos if frames are labelled one by one.

    Raises:
        ValueError: If the cache was prepared in another way than the checkpoint's processor expects, or has no record
            of a clip.
    """
    prepared.check_processor(processor)
    clips, _ = find_prepared(clips, prepared)
    if any(clip.frame_labels is not None for clip in clips):
        window = None if model.takes_any_length else model.config.num_frames
        return VideoFrames(clips, label_names, prepared, processor, window=window)
    samples, sampling = list_samples(clips, label_names), processor.sampling
    return ClipSource(samples, label_names, prepared, processor, sampling=sampling, augmentation=Augmentation())


def build_processor(
    record: Preparation, normalisation: Normalisation, sampling: Sampling
) -> dfer_hf.DferVideoProcessor:
    """Make the processor of a model that learns from a cache."""
    settings: dict[str, Any] = {
        "detector": record.detector,
        "alignment": record.alignment,
        "low_light": record.low_light,
        "image_mean": list(normalisation.mean),
        "image_std": list(normalisation.std),
        "do_grayscale": normalisation.greyscale,
        "num_frames": sampling.num_frames,
        "frames_per_segment": sampling.frames_per_segment,
        "every_frame": sampling.num_frames == 1,
    }
    if record.crop_size != CROP_SIZE:
        settings[CROP_SIZE_FIELD] = record.crop_size
    return dfer_hf.DferVideoProcessor(**settings)


def grey_processor(config: TrainConfig) -> dfer_hf.DferVideoProcessor:
    """Make the processor of a model that learns from grey stills, or clips of them, and reads as its paper says."""
    settings: dict[str, Any] = {"do_grayscale": True}
    settings["every_frame"] = dfer_hf.systems()[config.system].reads_every_frame
    return dfer_hf.DferVideoProcessor(**settings)


def ferplus_data(config: TrainConfig, data_root: Path) -> Data:
    """Read FER+: its train split to learn from, its valid split to measure by."""
    train, valid = load_ferplus(data_root, "train"), load_ferplus(data_root, "valid")
    stills = StillSource(train, balance=config.balance)
    some = np.arange(0, len(valid), max(1, len(valid) // VALIDATION_CLIPS))
    training: TrainingSource
    validation: Source
    if config.data == "ferplus_stills":
        training, validation = stills, StillSource(valid)
    elif config.data == "moving_ferplus":
        training = MovingStills(movable_ferplus(train, balance=config.balance))
        validation = MovingStills(movable_ferplus(valid), noise_share=0.5, chosen=torch.from_numpy(some))
    else:
        training = StillClips(stills, neutral_label=NEUTRAL)
        validation = StillClips(StillSource(valid.subset(some)), neutral_label=NEUTRAL, off_target_share=0.5)
    counts = {"training": {"clips": len(stills)}, "validation": {"clips": len(validation)}}
    record = {"corpus": "ferplus", "fold": None, "split": counts, "left_out": {}, "cache": None}
    return Data(training, validation, SEVEN_EMOTIONS, grey_processor(config), record)


def faces_data(config: TrainConfig, data_root: Path) -> Data:
    """Read the faces that `python -m training.prepare_faces` brought together; FER+'s valid split is measured on."""
    banks = [FaceBank.load(data_root / f"{name}_train") for name in config.face_shares]
    valid = FaceBank.load(data_root / "ferplus_valid")
    shares = list(config.face_shares.values())
    training: TrainingSource
    validation: Source
    if config.data == "faces":
        training = FaceStills(banks, shares=shares, balance=config.balance)
        validation = FaceStills([valid], shares=[1.0], balance=0.0)
    else:
        training = MovingMix.of_banks(banks, shares=shares, balance=config.balance)
        validation = MovingMix.of_banks([valid], shares=[1.0], noise_share=0.5, most_clips=VALIDATION_CLIPS)
    counts = {"training": {"clips": len(training)}, "validation": {"clips": len(validation)}}
    record = {"corpus": " and ".join(config.face_shares), "fold": None, "split": counts, "left_out": {}, "cache": None}
    return Data(training, validation, SEVEN_EMOTIONS, grey_processor(config), record)
