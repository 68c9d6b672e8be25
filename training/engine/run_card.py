"""Turn a finished run into a folder ready for the Hub: weights, code, processor and a model card."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, hf_hub_download
from transformers import AutoModelForVideoClassification, AutoVideoProcessor
from yaml import YAMLError

import dfer_hf  # noqa: F401  puts our classes into transformers' auto classes
from dfer_hf.checkpoints import CARD
from dfer_hf.hub.card import scorecard_table
from dfer_hf.hub.export import export_repository
from training.data.sources import left_out_sentences
from training.datasets.folds import name_fold
from training.engine.pretrained import LANDMARKS, TORCHVISION
from training.engine.run_folder import Progress, RunFolder, locate_checkpoint

KEPT = {
    "validation": "The epoch kept is the best on a part cut from the training clips; the test part was not looked at.",
    "test": "**The epoch kept is the best on the test part**, as much of the literature does: the figures below are "
    "too good to expect of new clips.",
    "last": "The last epoch is kept; none was chosen by its result.",
}
LICENCE = ("license", "license_name", "license_link")
OURS = {"license": "apache-2.0"}
LICENSED = "The licence above is that of the code and weights; that of the data may ask for more."
UNLICENSED = (
    "**This card names no licence**, since the weights that it started from name none, or several: write it as "
    "`license:` into the metadata above. Without it `dfer push` does not upload it."
)
PART = {"validation": "validation part", "test": "test part", "last": "held-out part"}


def render_card(
    name: str,
    run: Mapping[str, Any],
    progress: Progress,
    evaluations: Mapping[str, Mapping[str, Any]],
    licence: Mapping[str, str],
) -> str:
    """Write the card of a run.

    Args:
        name: Of the repository.
        run: Content of `run.json`.
        progress: Rows of the log, and which epoch is kept.
        evaluations: Content of each `results.json` of the run, by the name of its folder.
        licence: What its metadata says of the licence; nothing where nobody knows.
    """
    config = run["config"]
    kept = next(row for row in progress.rows if row["epoch"] == progress.best_epoch)
    left_out = [f"{sentence}." for sentence in left_out_sentences(run["left_out"])]
    lines = [
        "---",
        *(f"{name}: {value}" for name, value in licence.items()),
        "library_name: transformers",
        "pipeline_tag: video-classification",
        f"tags: [facial-expression-recognition, emotion, video, {config['system'].replace('_', '-')}]",
        "---",
        "",
        f"# {name}",
        "",
        f"`{config['system']}` of dfer_hf{_start(config)}, trained on `{config['data']}`"
        f"{name_fold(run['fold'])} for {len(progress.rows)} epochs, seed {config['seed']}, by {run['num_processes']} "
        f"process(es). {LICENSED if licence else UNLICENSED}",
        *(["", f"Of the data: {' '.join(left_out)}"] if left_out else []),
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
    if "war" in kept:
        figures = {"war": 100 * kept["war"], "uar": 100 * kept["uar"], "macro_f1": 100 * kept["f1"]}
        title = f"on the {PART[config['select']]}"
        lines += ["", *scorecard_table({name: figures}, ("war", "uar", "macro_f1"), title=title)]
    for results in evaluations.values():
        lines += ["", *_evaluated(name, results)]
    lines += [
        "",
        "Run it again with the recipe in `run.json`, by `dfer-train train`; measure it with `dfer-train evaluate`.",
        "",
        "## What it is not for",
        "",
        "An expression is not an emotion: the answer says what the face would be called by those who labelled the "
        "data, not what somebody feels. Do not decide anything about a person on it. Inferring emotions at work and "
        "in education is forbidden in the EU (AI Act, Article 5(1)(f)), except for medical or safety reasons; where "
        "it is allowed, the people concerned must be told (Article 50(3)).",
        "",
    ]
    return "\n".join(lines)


def licence_of(sources: Sequence[str]) -> dict[str, str]:
    """What a card says of the licence of weights that started from others: that of theirs.

    Nothing where one of them names none, or two name different ones.
    """
    # Weights of torchvision come with a free one.
    others = [source.removeprefix(LANDMARKS) for source in sources if not source.startswith(TORCHVISION)]
    found = [licence for licence in map(_licence_on_card, others) if licence != OURS]
    if not found:
        return OURS
    return found[0] if all(licence == found[0] for licence in found) else {}


def _licence_on_card(source: str) -> dict[str, str]:
    # A file of weights alone is one of our landmark heads.
    if Path(source).is_file():
        return OURS
    run = RunFolder(Path(source))
    try:
        folder = str(run.hub) if run.hub.is_dir() else locate_checkpoint(source)[0]
        card = Path(folder, CARD) if Path(folder).is_dir() else Path(hf_hub_download(folder, CARD))
        return _licence_in(card)
    # Nothing says that it is still there, that the Hub can be reached, or that it is a card.
    except (OSError, ValueError, YAMLError):
        return {}


def _licence_in(card: Path) -> dict[str, str]:
    said = ModelCard(card.read_text(encoding="utf-8")).data.to_dict()
    return {name: str(said[name]) for name in LICENCE if said.get("license") and name in said}


def write_card(run: RunFolder) -> None:
    """Write the card of a run's `hub/`, with all results so far."""
    found = sorted(run.folder.glob(f"{run.evaluation.name}*/results.json"))
    evaluations = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in found}
    record, card = run.read_record(), run.hub / CARD
    # What the card says, perhaps by somebody's hand, holds.
    licence = (_licence_in(card) if card.is_file() else {}) or licence_of(record["config"]["initialise_from"])
    text = render_card(run.folder.resolve().name, record, run.read_progress(), evaluations, licence)
    card.write_text(text, encoding="utf-8")


def write_repository(run: RunFolder) -> None:
    """Write the `hub/` of a run folder from its checkpoint."""
    model = AutoModelForVideoClassification.from_pretrained(run.checkpoint)
    processor = AutoVideoProcessor.from_pretrained(run.checkpoint)
    record = run.hub / run.record_file.name
    # The exporter refuses files that are not its own.
    record.unlink(missing_ok=True)
    export_repository(model, processor, run.hub)
    content = dict(run.read_record())
    content["config"] = content["config"] | {"initialise_from": _names_of(content["config"]["initialise_from"])}
    record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    write_card(run)


def _evaluated(name: str, results: Mapping[str, Any]) -> list[str]:
    title = f"on {results['corpus']}{name_fold(results['fold'])}, {results['split']} part"
    lines = scorecard_table({name: results["fine"]}, ("war", "uar", "macro_f1", "count"), title=title)
    if results["classes"]:
        named = [f"{name} ({', '.join(members)})" for name, members in results["classes"].items()]
        lines += ["", f"Only what shows a class that the run tells apart is counted: {'; '.join(named)}."]
    missing = results["clips"]["without_crops"]["count"]
    if missing:
        lines += ["", f"{missing} clips of this part could not be prepared and are not counted."]
    if results["seen_in_training"]:
        lines += [
            "",
            f"**{results['seen_in_training']} of these clips were seen in training**: the figures say nothing about "
            "new clips.",
        ]
    return lines


def _start(config: Mapping[str, Any]) -> str:
    """Say which preset and weights the run started from."""
    # A fine-tuned model has the sizes of its checkpoint, whatever the preset.
    size = "" if config["data"] == "own_classes" else f", preset `{config['preset']}`"
    names = ", ".join(f"`{name}`" for name in _names_of(config["initialise_from"]))
    return f"{size}, started from the weights of {names} (see there for what they learnt from)" if names else size


def _names_of(checkpoints: Sequence[str]) -> list[str]:
    """Keep only the names of folders, as the rest of a path would say who trained the model and where."""
    return [name.rstrip("/").rsplit("/", 1)[-1] for name in checkpoints]
