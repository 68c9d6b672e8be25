"""Turn a finished run into a folder ready for the Hub: weights, code, processor, and a card that says what was done."""

import json
from pathlib import Path
from typing import Any

from transformers import AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf  # noqa: F401  puts our classes into transformers' auto classes
from dfer_hf.hub.export import export_repository

KEPT = {
    "validation": "The epoch kept is the best on a part cut from the training clips; the test part was not looked at.",
    "test": "**The epoch kept is the best on the test part**, as much of the literature does: the figures below are "
    "too good to expect of new clips.",
    "last": "The last epoch is kept; none was chosen by its result.",
}


def render_card(name: str, run: dict[str, Any], rows: list[dict[str, float]], best_epoch: int) -> str:
    """Write the card of a run.

    Args:
        name: Of the repository.
        run: Content of `run.json`.
        rows: Of the log.
        best_epoch: Epoch whose weights are kept.
    """
    config = run["config"]
    kept = next(row for row in rows if row["epoch"] == best_epoch)
    fold = f", fold {run['fold']}" if run["fold"] else ""
    lines = [
        "---",
        "license: apache-2.0",
        "library_name: transformers",
        "pipeline_tag: video-classification",
        f"tags: [facial-expression-recognition, emotion, video, {config['system'].replace('_', '-')}]",
        "---",
        "",
        f"# {name}",
        "",
        f"`{config['system']}` of dfer_hf, preset `{config['preset']}`, trained on `{config['data']}`{fold} for "
        f"{len(rows)} epochs, seed {config['seed']}, by {run['num_processes']} process(es). "
        "The licence above is that of the code and weights; that of the data may ask for more.",
        "",
        "```python",
        "from transformers import AutoModelForVideoClassification, AutoVideoProcessor",
        "",
        f'model = AutoModelForVideoClassification.from_pretrained("{name}", trust_remote_code=True)',
        f'processor = AutoVideoProcessor.from_pretrained("{name}", trust_remote_code=True)',
        "```",
        "",
        "## Figures",
        "",
        f"{KEPT[config['select']]} It is epoch {int(kept['epoch'])}.",
    ]
    if config["select"] != "last" or "war" in kept:
        part = {"validation": "validation part", "test": "test part", "last": "held-out part"}[config["select"]]
        lines += [
            "",
            f"| on the {part} | WAR (accuracy) | UAR (mean recall) | F1 (macro) |",
            "|---|---|---|---|",
            f"| {name} | {100 * kept['war']:.2f} | {100 * kept['uar']:.2f} | {100 * kept['f1']:.2f} |",
        ]
    lines += [
        "",
        "Run it again with the recipe in `run.json`, by `training/train.py`; measure it by `training/evaluate.py`.",
        "",
        "## What it is not for",
        "",
        "An expression is not an emotion: the answer says what the face would be called by those who labelled the data, "
        "not what somebody feels. Do not decide anything about a person on it. Inferring emotions at work and in "
        "education is forbidden in the EU (AI Act, Article 5(1)(f)), except for medical or safety reasons; where it is "
        "allowed, the people concerned must be told (Article 50(3)).",
        "",
    ]
    return "\n".join(lines)


def write_repository(folder: Path) -> Path:
    """Write `hub/` of a run folder from its checkpoint, and return it."""
    model = AutoModelForVideoClassification.from_pretrained(folder / "checkpoint")
    processor = AutoVideoProcessor.from_pretrained(folder / "checkpoint")
    progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    repository = folder / "hub"
    export_repository(model, processor, repository)
    card = render_card(folder.resolve().name, run, progress["rows"], progress["best_epoch"])
    (repository / "README.md").write_text(card, encoding="utf-8")
    return repository
