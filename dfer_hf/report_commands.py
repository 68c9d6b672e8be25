"""What `dfer report` and `dfer compare` do: write what was found as a page to read."""

import argparse
from datetime import datetime, timezone
from pathlib import Path

from .checkpoint_facts import facts_of, versions
from .checkpoints import DEFAULT_CHECKPOINT
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
from .output_files import HtmlFile, check_outputs
from .video import FrameSpool, probe
from .visualize import clip_article, error_article, page_foot, page_head


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
        head = page_head(made_on=datetime.now(timezone.utc).date())
        page = HtmlFile(options.output, head=head, foot=page_foot([checkpoint], versions=versions()))

        def write_one(file: Path, name: str) -> str:
            with FrameSpool(max_side=OVERLAY_SIDE) as spool:
                try:
                    found = predictor(
                        file, explain=True, limits=limits, name=name, progress=bar.move, on_frame=spool.add
                    )
                    article = clip_article(found, spool, info=probe(file, limits=limits), checkpoint=checkpoint)
                except FILE_ERRORS as error:
                    page.add(error_article(name, reason(error)))
                    return reason(error)
            page.add(article)
            return ""

        return work_through(options.files, write_one, bar, [page])
