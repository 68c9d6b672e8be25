"""Measure a checkpoint on a dataset: `python -m training.evaluate <checkpoint or run> <dataset> --data-root … …`.

Every clip of the split is predicted once, from the middle of each segment as the papers do, and the predictions are
kept clip by clip beside the figures. Several processes (`torchrun --nproc-per-node 2 -m training.evaluate …`) give the
same files as one. A checkpoint is not measured on clips that its run has learnt from, and no other result is
overwritten.
"""

from training.arguments import DEFAULT_BATCH_SIZE, run_module

if __name__ == "__main__":
    # Before the imports that take seconds.
    raise SystemExit(run_module("evaluate"))

import argparse
import dataclasses
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from dfer_hf.checkpoint_facts import versions
from dfer_hf.checkpoints import load_checkpoint
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from training.cache.prepared import PreparedClips
from training.data.classes import choose_classes
from training.data.protocols import FrameSource, Source
from training.data.sources import build_test_source
from training.datasets.corpus import Split
from training.datasets.registry import find_corpus
from training.engine.provenance import check_unseen, seen_clips
from training.engine.run_card import write_card
from training.engine.run_folder import RunFolder, locate_checkpoint
from training.evaluation.calibration import Reliability
from training.evaluation.predict import Predictions, predict, predict_frames, softmax
from training.evaluation.prediction_files import SUFFIXES, save_predictions
from training.evaluation.results import (
    PREDICTIONS,
    RESULTS,
    coarse_confusion,
    fine_confusion,
    group_confusion,
    intervals,
    measure,
    refuse_other_results,
    write_results,
)

# Entries that tell one measurement from another.
IDENTITY = ("checkpoint", "weights_sha256", "corpus", "fold", "split")


def main(arguments: argparse.Namespace) -> int:
    """Run the evaluation that the command line asks for."""
    evaluate(
        arguments.checkpoint,
        arguments.corpus,
        arguments.data_root,
        arguments.prepared,
        fold=arguments.fold,
        split=arguments.split,
        output=arguments.output,
        batch_size=arguments.batch_size,
        parquet=arguments.parquet,
        figures=arguments.figures,
        allow_seen=arguments.allow_seen,
        num_workers=arguments.workers,
    )
    return 0


def evaluate(
    checkpoint: str | Path,
    corpus: str,
    data_root: Path,
    prepared_root: Path,
    *,
    fold: int | None = None,
    split: str = "test",
    output: Path | None = None,
    batch_size: int = DEFAULT_BATCH_SIZE,
    parquet: bool = False,
    figures: bool = False,
    allow_seen: bool = False,
    num_workers: int = 0,
) -> dict[str, Any]:
    """Measure a checkpoint, print and write the figures, and return what results.json holds.

    A run that tells some classes apart, as each net of CFC-SP does, is measured on the clips and frames of these.

    Args:
        checkpoint: Run folder of training, shipped name, folder or Hub id.
        corpus: Name of the dataset.
        data_root: Folder of its release.
        prepared_root: Cache of its face crops.
        fold: Which fold, counted from 1, where the dataset has several.
        split: `test` or `train`.
        output: Folder to write. Without it, a run's own test part goes into its `evaluation`, other parts and other
            datasets into `evaluation_…` beside it, and for other checkpoints nothing is written.
        batch_size: Clips of a batch.
        parquet: Whether predictions are written as parquet instead of CSV.
        figures: Whether figures are drawn.
        allow_seen: Whether clips that the run has learnt from may be measured; results and card say so.
        num_workers: Processes that read the clips; no figure depends on it.

    Raises:
        ValueError: If checkpoint, dataset, fold or cache do not fit together, the run has learnt from the clips, or
            the folder holds another result.
        OSError: If a file is missing.
    """
    accelerator = Accelerator()
    folder, name = locate_checkpoint(checkpoint)
    run = RunFolder.around(checkpoint)
    classes = {} if run is None else run.read_record()["config"].get("classes", {})
    division = choose_classes(find_corpus(corpus).load(data_root, fold), classes)
    if split == "train":
        division = dataclasses.replace(division, test=division.train)
    loaded, prepared = load_checkpoint(folder, device=accelerator.device), PreparedClips(prepared_root)
    model, processor = loaded.model, loaded.processor
    source = build_test_source(division.test, division.label_names, prepared, processor, model)
    results = describe(name, model, division, part=split, batch_size=batch_size)
    results |= describe_run(run, division, prepared, allow_seen=allow_seen) | {"classes": classes}
    results["mixed_precision"] = accelerator.mixed_precision
    if output is None and RunFolder(Path(checkpoint)).checkpoint.is_dir():
        output = default_output(Path(checkpoint), results)
    if output is not None:
        refuse_other_results(output, results, IDENTITY)
    predictions = predict_source(
        model, source, batch_size=batch_size, accelerator=accelerator, with_features=figures, num_workers=num_workers
    )
    predictions = add_persons(predictions, division)
    results |= measure(predictions, temperature=model.config.temperature)
    results["clips"] |= coverage(division, predictions)
    if accelerator.is_main_process:
        report(results, predictions, output, parquet=parquet, figures=figures)
        if run is not None and output is not None and run.hub.is_dir() and output.parent.samefile(run.folder):
            write_card(run)
    accelerator.wait_for_everyone()
    return results


def default_output(folder: Path, results: Mapping[str, Any]) -> Path:
    """Return where results of a run go: its own test part into `evaluation`, others into folders beside it."""
    run, trained = RunFolder(folder), results["run"]
    own = trained is None or (trained["corpus"], trained["fold"]) == (results["corpus"], results["fold"])
    if own and results["split"] == "test":
        return run.evaluation
    fold = "" if results["fold"] is None else f"_{results['fold']}"
    return folder / f"{run.evaluation.name}_{results['corpus']}{fold}_{results['split']}"


def describe_run(run: RunFolder | None, split: Split, prepared: PreparedClips, *, allow_seen: bool) -> dict[str, Any]:
    """Describe a checkpoint's training, and make sure that it may be measured on these clips.

    Raises:
        SeenClipsError: If its run has learnt from some of them, and that is not allowed.
        PreparationMismatchError: If their faces were prepared otherwise than those of the run.
    """
    if run is None:
        return {"run": None, "seen_in_training": None}
    record = run.read_record()
    cache = record.get("cache") or {}
    if cache:
        prepared.check_described(cache["preparation"])
    names = [clip.name for clip in split.test]
    seen = seen_clips(run, split, names)
    if not allow_seen:
        check_unseen(run, seen, len(names))
    known = {name: record.get(name) for name in ("corpus", "fold", "recipe_sha256")}
    return {
        "run": known | {"preparation_sha256": cache.get("preparation_sha256")},
        "seen_in_training": len(seen),
        "epoch_selected_on": record["config"]["select"],
    }


def predict_source(
    model: DferPreTrainedModel,
    source: Source | FrameSource,
    *,
    batch_size: int,
    accelerator: Accelerator | None = None,
    with_features: bool = False,
    num_workers: int = 0,
) -> Predictions:
    """Predict clips, or the frames of videos where these are labelled one by one."""
    options: dict[str, Any] = {"batch_size": batch_size, "accelerator": accelerator, "num_workers": num_workers}
    if isinstance(source, FrameSource):
        return predict_frames(model, source, **options)
    return predict(model, source, with_features=with_features, **options)


def add_persons(predictions: Predictions, split: Split) -> Predictions:
    """Add who is seen in each clip, where the dataset knows it of every clip and the source does not."""
    person_of = {clip.name: clip.person for clip in split.test}
    persons = [person_of.get(name) for name in predictions.names]
    if predictions.persons is not None or None in persons:
        return predictions
    return dataclasses.replace(predictions, persons=tuple(map(str, persons)))


def describe(name: str, model: DferPreTrainedModel, split: Split, *, part: str, batch_size: int) -> dict[str, Any]:
    """Describe the measurement and its command, without paths and times, so that two runs write the same."""
    options = [f"--fold {split.fold}"] if split.fold is not None else []
    options += [f"--split {part}"] if part != "test" else []
    options += [f"--batch-size {batch_size}"] if batch_size != DEFAULT_BATCH_SIZE else []
    places = f"--data-root <{split.corpus}> --prepared <cache>"
    return {
        "checkpoint": name,
        "weights_sha256": weights_hash(model),
        "system": model.config.model_type,
        "corpus": split.corpus,
        "fold": split.fold,
        "split": part,
        "image_size": model.config.image_size,
        "num_frames": model.config.num_frames,
        "temperature": model.config.temperature,
        "clips": {},
        "command": " ".join(["python -m training.evaluate", name, split.corpus, places, *options]),
        "versions": versions(),
    }


def weights_hash(model: DferPreTrainedModel) -> str:
    """Return the SHA-256 of a model's tensors and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def coverage(split: Split, predictions: Predictions) -> dict[str, Any]:
    """Count the clips of the split, and name those of which the cache has no crops.

    Where frames are labelled one by one, videos are counted.
    """
    predicted = set(predictions.names) | set(predictions.persons or ())
    missing = sorted(clip.name for clip in split.test if clip.name not in predicted)
    return {
        "in_split": len(split.test),
        "predicted": len(predictions),
        "left_out_of_annotation": dict(sorted(split.left_out.items())),
        "without_crops": {"count": len(missing), "names": missing},
    }


def report(
    results: Mapping[str, Any],
    predictions: Predictions,
    output: Path | None,
    *,
    parquet: bool = False,
    figures: bool = False,
) -> None:
    """Print the main figures; write everything where there is a folder to write to."""
    fine, coarse = results["fine"], results["coarse"]
    missing = results["clips"]["without_crops"]["count"]
    notes = [f"no clip of {', '.join(fine['absent_classes'])}"] if fine["absent_classes"] else []
    notes += [f"{missing} without crops"] if missing else []
    seen = results["seen_in_training"]
    notes += [f"{seen} of them seen in training"] if seen else []
    notes += [f"of the run's classes {', '.join(results['classes'])} alone"] if results["classes"] else []
    sys.stdout.write(
        f"{results['checkpoint']} on {results['corpus']}{_fold_words(results['fold'])}, {results['split']}: "
        f"WAR {fine['war']:.2f} UAR {fine['uar']:.2f} macro F1 {fine['macro_f1']:.2f}, "
        f"coarse WAR {coarse['war']:.2f} UAR {coarse['uar']:.2f}, "
        f"{fine['count']} clips{''.join(f'; {note}' for note in notes)}\n"
    )
    if output is None:
        sys.stdout.write("Nothing was written; give --output for results, predictions and figures.\n")
        return
    output.mkdir(parents=True, exist_ok=True)
    # An earlier file of the same measurement may have the other format.
    for suffix in SUFFIXES:
        (output / f"{PREDICTIONS}{suffix}").unlink(missing_ok=True)
    suffix = ".parquet" if parquet else ".csv"
    save_predictions(dataclasses.replace(predictions, features=None), output / f"{PREDICTIONS}{suffix}")
    write_results(dict(results), output / RESULTS)
    if figures:
        title = f"{results['checkpoint']}, {results['corpus']}{_fold_words(results['fold'])}"
        draw_figures(predictions, output, title=title, temperature=results["temperature"])
    sys.stdout.write(f"Written to {output}.\n")


def draw_figures(predictions: Predictions, folder: Path, *, title: str, temperature: float = 1.0) -> None:
    """Draw every figure of predictions that can be drawn into a folder."""
    from training.evaluation.figures import draw_confusion, draw_features, draw_recalls, draw_reliability

    fine = fine_confusion(predictions)
    draw_confusion(fine, folder / "confusion.png", title=title)
    draw_confusion(
        coarse_confusion(predictions), folder / "confusion_coarse.png", title=f"{title}, the system's coarse answers"
    )
    draw_confusion(
        group_confusion(predictions),
        folder / "confusion_coarse_of_fine.png",
        title=f"{title}, groups of the fine answers",
    )
    ends = intervals(predictions).recall_ends
    draw_recalls(fine, ends, folder / "recalls.png", groups=predictions.groups, title=title)
    reliabilities = {"temperature 1": Reliability.of(predictions.probabilities, predictions.labels)}
    if temperature != 1:
        scaled = softmax(predictions.logits.astype(np.float64) / temperature)
        reliabilities[f"temperature {temperature:.3g}"] = Reliability.of(scaled, predictions.labels)
    draw_reliability(reliabilities, folder / "reliability.png", title=title)
    if predictions.features is not None and len(predictions) > 2:
        draw_features(
            predictions.features,
            predictions.labels,
            folder / "features.png",
            label_names=predictions.label_names,
            groups=predictions.groups,
            title=f"{title}, features of the clips (t-SNE)",
        )


def _fold_words(fold: int | None) -> str:
    return "" if fold is None else f" fold {fold}"
