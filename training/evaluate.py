"""Measure a checkpoint on a corpus: `python -m training.evaluate <checkpoint or run> <corpus> --data-root … --prepared …`.

Every clip of the split is judged once, from the middle of each segment as the papers do, and what the system said is
kept clip by clip beside the figures. Several processes (`torchrun --nproc-per-node 2 -m training.evaluate …`) give the
same files as one.
"""

from training.arguments import DEFAULT_BATCH_SIZE, read_command_line

if __name__ == "__main__":
    # `--help` and wrong words are answered before torch is imported, which takes seconds.
    read_command_line("evaluate")

import argparse
import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from dfer_hf.checkpoints import find_checkpoint, load_checkpoint
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from training.cache.prepared import PreparedClips
from training.data.protocols import FrameSource, Source
from training.data.sources import build_test_source
from training.datasets.corpus import Split
from training.datasets.registry import find_corpus
from training.evaluation.calibration import Reliability
from training.evaluation.predict import Predictions, predict, predict_frames, softmax
from training.evaluation.prediction_files import SUFFIXES, save_predictions
from training.evaluation.results import (
    coarse_confusion,
    fine_confusion,
    group_confusion,
    intervals,
    measure,
    versions,
    write_results,
)

RESULTS, PREDICTIONS = "results.json", "predictions"


def main(arguments: argparse.Namespace) -> int:
    """Measure, print and write; 1 where checkpoint, corpus, fold or cache are missing or do not fit together."""
    try:
        evaluate(arguments)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def evaluate(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure, print and write, and return what results.json holds.

    Raises:
        ValueError: If checkpoint, corpus, fold or cache do not fit together.
        OSError: If a file is missing.
    """
    accelerator = Accelerator()
    folder, name = locate_checkpoint(arguments.checkpoint)
    split = find_corpus(arguments.corpus).load(arguments.data_root, arguments.fold)
    if arguments.split == "train":
        split = dataclasses.replace(split, test=split.train)
    checkpoint = load_checkpoint(folder, device=accelerator.device)
    model, processor = checkpoint.model, checkpoint.processor
    prepared = PreparedClips(arguments.prepared)
    source = build_test_source(split.test, split.label_names, prepared, processor, model)
    predictions = judge(
        model, source, batch_size=arguments.batch_size, accelerator=accelerator, with_features=arguments.figures
    )
    predictions = add_persons(predictions, split)
    output = arguments.output
    run = Path(arguments.checkpoint)
    if output is None and (run / "checkpoint").is_dir():
        output = run / "evaluation"
    results = describe(name, model, split, arguments)
    if (run / "run.json").is_file():
        results["epoch_selected_on"] = json.loads((run / "run.json").read_text(encoding="utf-8"))["config"]["select"]
    results["mixed_precision"] = accelerator.mixed_precision
    results |= measure(predictions, temperature=model.config.temperature)
    results["clips"] |= coverage(split, predictions)
    if accelerator.is_main_process:
        report(results, predictions, output, parquet=arguments.parquet, figures=arguments.figures)
    accelerator.wait_for_everyone()
    return results


def evaluate_run(
    checkpoint: Path, corpus: str, data_root: Path, prepared_root: Path, fold: int | None, output: Path
) -> dict[str, Any]:
    """Measure a run on the test part of its fold, write everything into a folder, and return the results."""
    words = [checkpoint, corpus, "--data-root", data_root, "--prepared", prepared_root, "--output", output]
    words += [] if fold is None else ["--fold", fold]
    return evaluate(read_command_line("evaluate", [str(word) for word in words]))


def locate_checkpoint(name_or_path: str) -> tuple[str, str]:
    """Where to load a checkpoint from, and what results call it.

    Args:
        name_or_path: A run folder with a `checkpoint` in it, or what `find_checkpoint` takes.

    Raises:
        ValueError: If it is none of these.
    """
    path = Path(name_or_path)
    if (path / "checkpoint" / "config.json").is_file():
        return str(path / "checkpoint"), path.resolve().name
    found = find_checkpoint(name_or_path)
    return found, Path(found).resolve().name if Path(found).is_dir() else found


def judge(
    model: DferPreTrainedModel,
    source: Source | FrameSource,
    *,
    batch_size: int,
    accelerator: Accelerator | None = None,
    with_features: bool = False,
) -> Predictions:
    """Let the system judge clips, or the frames of videos where these are labelled one by one."""
    if isinstance(source, FrameSource):
        return predict_frames(model, source, batch_size=batch_size, accelerator=accelerator)
    return predict(model, source, batch_size=batch_size, accelerator=accelerator, with_features=with_features)


def add_persons(predictions: Predictions, split: Split) -> Predictions:
    """Say who is seen in each clip, where the corpus says so of every one and the source did not."""
    person_of = {clip.name: clip.person for clip in split.test}
    persons = [person_of.get(name) for name in predictions.names]
    if predictions.persons is not None or None in persons:
        return predictions
    return dataclasses.replace(predictions, persons=tuple(map(str, persons)))


def describe(name: str, model: DferPreTrainedModel, split: Split, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was measured on what, with which command; no path and no time, so that two runs write the same."""
    options = [f"--fold {split.fold}"] if split.fold is not None else []
    options += [f"--split {arguments.split}"] if arguments.split != "test" else []
    options += [f"--batch-size {arguments.batch_size}"] if arguments.batch_size != DEFAULT_BATCH_SIZE else []
    places = f"--data-root <{split.corpus}> --prepared <cache>"
    return {
        "checkpoint": name,
        "system": model.config.model_type,
        "corpus": split.corpus,
        "fold": split.fold,
        "split": arguments.split,
        "image_size": model.config.image_size,
        "num_frames": model.config.num_frames,
        "temperature": model.config.temperature,
        "clips": {},
        "command": " ".join(["python -m training.evaluate", name, split.corpus, places, *options]),
        "versions": versions(),
    }


def coverage(split: Split, predictions: Predictions) -> dict[str, Any]:
    """How many clips the split has, and which of them were not judged because the cache has no crops of them.

    For a corpus whose frames are labelled one by one these are videos, and a frame is judged or not as its video is.
    """
    judged = set(predictions.names) | set(predictions.persons or ())
    missing = sorted(clip.name for clip in split.test if clip.name not in judged)
    return {
        "in_split": len(split.test),
        "judged": len(predictions),
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
    # Of an earlier run in the other format.
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


if __name__ == "__main__":
    sys.exit(main(read_command_line("evaluate")))
