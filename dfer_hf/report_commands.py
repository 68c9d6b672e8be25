"""What `dfer report` and `dfer compare` do: write what was found as a page to read."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from .checkpoint_facts import facts_of, versions
from .checkpoints import DEFAULT_CHECKPOINT, find_checkpoint, shipped_checkpoints
from .comparison import Comparison
from .comparison import compare as compare_models
from .file_run import (
    FILE_ERRORS,
    OVERLAY_SIDE,
    FileBar,
    limits_of,
    load_predictor,
    outputs_are_written,
    reason,
    work_through,
)
from .language import translate_page
from .output_files import SCREEN, AnswerFile, HtmlFile, JsonFile, UsageError, check_outputs, printable
from .prediction import error_row
from .predictor import VideoPredictor
from .video import FrameSpool, probe
from .visualize import (
    COMPARE_TITLE,
    clip_article,
    comparison_article,
    error_article,
    length_of,
    name_face,
    page_foot,
    page_head,
    warning_notes,
)


def report(options: argparse.Namespace) -> int:
    """Write one page on all files, and return the exit code.

    Raises:
        UsageError: If the model, the device or the output cannot be had.
    """
    with outputs_are_written():
        check_outputs(options.files, [options.output])
        predictor, limits = load_predictor(options, options.model), limits_of(options)
        checkpoint = facts_of(predictor, options.model or DEFAULT_CHECKPOINT)
        bar = FileBar(len(options.files), is_shown=not options.quiet)
        head, foot = (
            translate_page(part, options.language)
            for part in (page_head(), page_foot([checkpoint], versions=versions()))
        )
        page = HtmlFile(options.output, head=head, foot=foot)

        def write_one(file: Path, name: str) -> str:
            with FrameSpool(max_side=OVERLAY_SIDE) as spool:
                try:
                    found = predictor(
                        file, explain=True, limits=limits, name=name, progress=bar.move, on_frame=spool.add
                    )
                    article = clip_article(found, spool, info=probe(file, limits=limits), checkpoint=checkpoint)
                except FILE_ERRORS as error:
                    page.add(translate_page(error_article(name, reason(error)), options.language))
                    return reason(error)
            page.add(translate_page(article, options.language))
            return ""

        return work_through(options.files, write_one, bar, [page])


def compare(options: argparse.Namespace) -> int:
    """Let several systems answer one clip, print or write what they say, and return the exit code.

    Raises:
        UsageError: If there is not one file, if a model, the device or an output cannot be had, or there is one model.
    """
    with outputs_are_written():
        if len(options.files) != 1:
            raise UsageError(f"Expected one file to compare models on, got {len(options.files)}. Name one.")
        names = options.models or sorted(shipped_checkpoints())
        if len(names) < 2:
            raise UsageError(f"Expected two models or more to compare, got {len(names)}. Name them after --models.")
        check_outputs(options.files, [options.json, options.html])
        predictors, limits = _load_each(options, names), limits_of(options)
        checkpoints = [facts_of(predictor, name) for predictor, name in zip(predictors, names, strict=True)]
        bar = FileBar(1, is_shown=not options.quiet)
        data = [JsonFile(options.json, as_list=False)] if options.json else []
        pages = []
        if options.html:
            head = page_head(title=COMPARE_TITLE)
            pages = [HtmlFile(options.html, head=head, foot=page_foot(checkpoints, versions=versions()))]
        outputs: list[AnswerFile] = [*data, *pages]

        def compare_one(file: Path, name: str) -> str:
            try:
                compared = compare_models(predictors, file, limits=limits, name=name, progress=bar.move)
            except FILE_ERRORS as error:
                for output in data:
                    output.add(error_row(name, reason(error)))
                for page in pages:
                    page.add(error_article(name, reason(error)))
                return reason(error)
            for output in data:
                output.add(compared.to_dict())
            for page in pages:
                page.add(comparison_article(compared))
            if not options.quiet and SCREEN not in (options.json, options.html):
                tqdm.write("\n".join(_lines(compared)), file=sys.stdout)
            return ""

        return work_through(options.files, compare_one, bar, outputs)


def _load_each(options: argparse.Namespace, names: Sequence[str]) -> list[VideoPredictor]:
    """Load models that answer by names of their own: as they were typed, where folders have the same name.

    Raises:
        UsageError: If one cannot be had, or is named twice.
    """
    predictors = [load_predictor(options, name) for name in names]
    found = Counter(os.path.realpath(path) if Path(path).is_dir() else path for path in map(find_checkpoint, names))
    if max(found.values()) > 1:
        raise UsageError(
            f"Expected each model once to compare, got one twice among {', '.join(names)}. Name each once."
        )
    counts = Counter(predictor.name for predictor in predictors)
    for predictor, name in zip(predictors, names, strict=True):
        if counts[predictor.name] > 1:
            predictor.name = printable(name)
    return predictors


def _lines(compared: Comparison) -> list[str]:
    """What the systems say, as lines for the screen."""
    clip = compared.predictions[0]
    lines = [f"{clip.source}: {length_of(clip)}"]
    width = max(map(len, compared.models))
    for face in compared.faces:
        lines.append(f"  {name_face(clip, face.faces[0])}")
        for model, said in zip(face.models, face.faces, strict=True):
            coarse = f"({said.coarse.label} {said.coarse.confidence:.0%})"
            lines.append(f"    {model.ljust(width)}  {said.answer} {said.fine.confidence:.0%} {coarse}")
        lines += [f"    {sentence}" for sentence in face.in_words()]
    return [printable(line) for line in [*lines, *(f"  {note}" for note in warning_notes(clip))]]
