"""Fine-tune a checkpoint on a folder of clips with class names of one's own: `dfer-train finetune clips/ --from …`.

    dfer-train finetune clips/ --from dfer-aen-small --output runs/mine

`clips/` holds a folder for each class, or `metadata.csv`; see `training/datasets/folder.py`. Faces are cut out as the
checkpoint expects them, a part of the clips chooses the epoch, and `runs/mine` is a run as `train` writes it. A run
that was stopped resumes when the same command is given again.
"""

from training.arguments import run_module

if __name__ == "__main__":
    # Before the imports that take seconds.
    raise SystemExit(run_module("finetune"))

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoVideoProcessor

import dfer_hf
from dfer_hf.faces import FaceDetector, MtcnnFaceDetector
from dfer_hf.file_run import available_device
from training.cache.face_clips import FaceCropper
from training.config import TrainConfig, build_config, change_settings
from training.datasets.folder import OWN_CLASSES
from training.datasets.labels import emotion_of_word
from training.engine.run_folder import RunFolder, locate_checkpoint
from training.evaluate import evaluate
from training.evaluation.results import RESULTS
from training.prepare import prepare
from training.train import train

CACHE = "cache"
FEW_CLIPS = 500
"""Number of clips below which a fifth of them chooses the epoch, instead of a tenth."""

LEARNING_RATES = {"all": 5e-4, "head": 3e-3, "lora": 1e-3}
NOT_TAKEN = {"id2label", "label2id", "groups", "group_names", "temperature", "set_threshold", "problem_type"}
"""Fields of a checkpoint's configuration that belong to its own classes."""


class FinetuneError(ValueError):
    """The options of a fine-tuning do not fit the clips or the checkpoint; the message says what to do."""


def finetune(
    clips: Path,
    source: str,
    output: Path,
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    trainable: str = "all",
    num_epochs: int = 10,
    seed: int = 0,
    settings: Sequence[str] = (),
    detector: FaceDetector | None = None,
    num_processes: int = 1,
    num_workers: int = 0,
) -> RunFolder:
    """Prepare a folder of clips, train a checkpoint on it, and write a run with its card.

    Where the folder has a part to test on, the run is measured on it in the end.

    Args:
        clips: A folder of clips for each class, or with a `metadata.csv`.
        source: Shipped name, folder or Hub id of the checkpoint, or a run folder.
        output: Run folder; the cache of face crops is in it.
        groups: Coarse class to its classes. Without them, classes that spell an emotion are in the group of that
            emotion, and every other class is a group of its own.
        trainable: `all` weights, the `head` alone, or `lora`: the head and adapters.
        num_epochs: Number of epochs.
        seed: Of all random numbers.
        settings: Further changes of the recipe, such as `learning_rate=1e-3`; see `change_settings`.
        detector: Finds the faces; MTCNN where none is given.
        num_processes: Clips prepared at once.
        num_workers: Processes that read clips in training.

    Raises:
        FinetuneError: If the checkpoint cannot be trained on these classes, no clip shows a face, or groups and
            classes do not fit.
        CorpusError: If the folder cannot be read.
        ValueError: If a setting is wrong.
    """
    processor = AutoVideoProcessor.from_pretrained(locate_checkpoint(source)[0])
    split = OWN_CLASSES.load(clips, None)
    recipe = build_recipe(source, processor, split.label_names, groups, trainable, len(split.train))
    recipe |= {"seed": seed, "stages": [[recipe["model"]["image_size"], num_epochs, 1.0]]}
    config = build_config(TrainConfig, change_settings(recipe, settings), " ".join(["the recipe", *settings]))
    cropper = FaceCropper(processor.alignment, processor.low_light, detector or MtcnnFaceDetector())
    report = prepare(
        [*split.train, *split.test],
        output / CACHE,
        corpus=OWN_CLASSES.name,
        cropper=cropper,
        num_processes=num_processes,
    )
    for name, reason in report.failures.items():
        sys.stderr.write(f"left out: {name}: {reason}\n")
    if not report.num_prepared:
        raise FinetuneError(f"Expected clips that show a face in {clips}, got none. See what is said of each above.")
    train(config, clips, output, prepared_root=output / CACHE, num_workers=num_workers)
    run = RunFolder(output)
    if split.test and not (run.evaluation / RESULTS).is_file():
        # What an earlier try left is not whole.
        shutil.rmtree(run.evaluation, ignore_errors=True)
        evaluate(run.folder, OWN_CLASSES.name, clips, output / CACHE, num_workers=num_workers)
    return run


def build_recipe(
    source: str,
    processor: dfer_hf.DferVideoProcessor,
    label_names: Sequence[str],
    groups: Mapping[str, Sequence[str]] | None,
    trainable: str,
    num_clips: int,
) -> dict[str, Any]:
    """Return the recipe of a fine-tuning as plain values, which settings may change.

    The model has the checkpoint's sizes and normalisation. An epoch has at least 32 samples, so that few clips are
    shown several times.

    Raises:
        FinetuneError: If the checkpoint is of no system of this package, or groups and classes do not fit it.
    """
    given = AutoConfig.from_pretrained(locate_checkpoint(source)[0])
    system = given.model_type.removeprefix("dfer_")
    if system not in dfer_hf.systems():
        raise FinetuneError(
            f"Expected a checkpoint of {', '.join(dfer_hf.systems())}, got {source} of {system}. Choose another "
            "checkpoint."
        )
    # A checkpoint whose groups are single classes, as each net of CFC-SP, stays a plain classifier.
    is_plain = all(len(members) == 1 for members in given.groups.values())
    grouped = group_classes(label_names, groups, {} if is_plain else given.group_table)
    if is_plain and system == "cfc_sp" and len(grouped) < len(label_names):
        raise FinetuneError(
            f"Expected a group of its own for each class, as {source} is one net of CFC-SP and has none that tells "
            f"classes of a group apart; got the groups {grouped}. Leave --groups out, or start from nets that "
            "training/systems/cfc_sp_assembly.py has put together."
        )
    fields = [entry.name for entry in dataclasses.fields(type(given)) if entry.name in given.own_fields() - NOT_TAKEN]
    model = {name: getattr(given, name) for name in fields}
    model |= {"groups": grouped}
    sampling = processor.sampling
    return {
        "system": system,
        "data": OWN_CLASSES.name,
        "initialise_from": [source],
        "model": model,
        "batch_size": min(8, num_clips),
        "epoch_length": max(32, num_clips),
        "optimiser": "adamw",
        "learning_rate": LEARNING_RATES[trainable],
        "trunk_learning_rate_share": 0.2,
        "weight_decay": 0.05,
        "gradient_clip": 5.0,
        "sampler": "weighted",
        "balance": 0.5,
        "trainable": trainable,
        "select_by": "uar",
        "validation_share": 0.2 if num_clips < FEW_CLIPS else 0.1,
        "schedule": {"warmup_share": 0.1},
        "sampling": {"num_segments": sampling.num_segments, "frames_per_segment": sampling.frames_per_segment},
        "augmentation": {"crop_area": [0.7, 1.0], "brightness": 0.2, "contrast": 0.2, "rotation": 8.0},
        "normalisation": {
            "mean": list(processor.image_mean),
            "std": list(processor.image_std),
            "greyscale": bool(processor.do_grayscale),
        },
    }


def group_classes(
    label_names: Sequence[str], groups: Mapping[str, Sequence[str]] | None, table: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Put every class into a group: as given, or that of the emotion it is named after, or one of its own.

    Raises:
        FinetuneError: If given groups leave a class out, name one twice, or name an unknown one.
    """
    if groups is None:
        group_of = {emotion: name for name, members in table.items() for emotion in members}
        followed: dict[str, list[str]] = {}
        for label in label_names:
            emotion = emotion_of_word(label)
            followed.setdefault(label if emotion is None else group_of.get(emotion, label), []).append(label)
        return followed
    members = [label for labels in groups.values() for label in labels]
    if sorted(members) != sorted(label_names):
        raise FinetuneError(
            f"Expected every class in one group, got the groups {dict(groups)} of the classes "
            f"{', '.join(label_names)}. Name each class once, as in --groups good=smile,laugh bad=frown."
        )
    return {name: list(labels) for name, labels in groups.items()}


def read_groups(words: Sequence[str]) -> dict[str, list[str]]:
    """Read groups such as `good=smile,laugh`.

    Raises:
        FinetuneError: If a word has another form, or a group is named twice.
    """
    groups: dict[str, list[str]] = {}
    for word in words:
        name, separator, members = word.partition("=")
        labels = [label.strip() for label in members.split(",") if label.strip()]
        if not separator or not name or not labels or name in groups:
            raise FinetuneError(f"Expected a group such as good=smile,laugh, each once, got {word!r}.")
        groups[name] = labels
    return groups


def main(arguments: argparse.Namespace) -> int:
    """Run the fine-tuning that the command line asks for, and say where the results are."""
    run = finetune(
        arguments.clips,
        arguments.source,
        arguments.output,
        groups=read_groups(arguments.groups) if arguments.groups else None,
        trainable=arguments.trainable,
        num_epochs=arguments.epochs,
        seed=arguments.seed,
        settings=arguments.settings,
        detector=MtcnnFaceDetector(device=str(available_device(arguments.device))),
        num_processes=arguments.processes,
        num_workers=arguments.workers,
    )
    progress = run.read_progress()
    best = next(row for row in progress.rows if row["epoch"] == progress.best_epoch)
    figures = f": WAR {best['war']:.1%}, UAR {best['uar']:.1%} on the part that chose it" if "war" in best else ""
    sys.stdout.write(
        f"Kept epoch {progress.best_epoch}{figures}.\n"
        f"Checkpoint: {run.checkpoint} (dfer predict clip.mp4 --model {run.checkpoint})\n"
        f"To upload, with its card: {run.hub}\n"
    )
    return 0
