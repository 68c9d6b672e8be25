"""What a card says to machines: licence, datasets, where it started, and the measured figures as a `model-index`."""

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import EvalResult, ModelCard

from .evaluation import STILLS, markdown_table

TASK = "video-classification"
LICENCES_MARKED = re.compile(r"(<!-- licences -->\n).*?(<!-- /licences -->)", re.DOTALL)
SOURCES = {
    "fer2013": (
        "FER2013 (Goodfellow et al. 2013), photographs",
        "none from the photographers: collected from the web",
    ),
    "ferplus": ("FER+ (Barsoum et al. 2016), votes on them", "MIT"),
    "muxspace/facial_expressions": (
        "muxspace/facial_expressions, photographs and labels",
        "labels Apache-2.0; none from the photographers",
    ),
    "face_research_lab_london": ("Face Research Lab London Set (DeBruine and Jones), portraits", "CC BY 4.0"),
    "ict_facekit": ("ICT-FaceKit (Li et al. 2020), rendered faces", "MIT"),
}
"""What datasets of the metadata are, and the licence of each."""


def with_metadata(card: str, results: Mapping[str, Any]) -> str:
    """Put measured figures into the metadata of a card, and the licences of its datasets between their marks.

    Args:
        card: Text of the card.
        results: Content of its `results.json`.

    Raises:
        ValueError: If the metadata is not valid, or the licence of one of the datasets is not known.
    """
    parsed = ModelCard(card)
    data: Any = parsed.data
    data.model_name, data.eval_results = results["checkpoint"], evaluations(results["benches"]) or None
    rows = "\n".join(licence_table(data.datasets or []))
    return LICENCES_MARKED.sub(lambda match: f"{match[1]}{rows}\n{match[2]}", str(parsed))


def licence_table(datasets: list[str]) -> list[str]:
    """Lines of a table of what a checkpoint is made of, and under which licence it is.

    Raises:
        ValueError: If the licence of a dataset is not known.
    """
    unknown = sorted(set(datasets) - SOURCES.keys())
    if unknown:
        raise ValueError(f"Expected datasets whose licence is known ({', '.join(SOURCES)}), got {', '.join(unknown)}.")
    rows = [("Weights and code", "Apache-2.0"), *(SOURCES[name] for name in datasets)]
    return markdown_table(["part", "licence"], [*rows, ("Face detector (facenet-pytorch's MTCNN)", "MIT")])


def evaluations(benches: Mapping[str, Mapping[str, Any]]) -> list[EvalResult]:
    """Entries of the `model-index`, as shares of 1: accuracy and mean recall of every bench that was run."""
    stills = benches.get("ferplus", {})
    measured = [
        (("ferplus", title, config.replace(" ", "_"), "validation"), stills[config])
        for config, title in STILLS.items()
        if config in stills
    ]
    for bench, title in (
        ("muxspace", "muxspace/facial_expressions, people nobody trained on"),
        ("london", "Face Research Lab London Set, people nobody trained on, smiling and neutral"),
    ):
        if bench in benches:
            measured.append(((bench, title, "found", "test"), benches[bench]))
    for share, card in benches.get("clips", {}).get("by_share", {}).items():
        title = f"clips made from FER+ valid, {share} of the frames noise"
        measured.append((("ferplus_clips", title, f"noise_{share.rstrip('%')}", "validation"), card))
    return [
        EvalResult(
            task_type=TASK,
            dataset_type=kind,
            dataset_name=title,
            dataset_config=config,
            dataset_split=split,
            metric_type=metric,
            metric_value=round(card[name] / 100, 4),
            metric_name=metric_name,
            metric_args=arguments,
        )
        for (kind, title, config, split), card in measured
        for name, metric, metric_name, arguments in (
            ("war", "accuracy", "WAR (accuracy)", None),
            ("uar", "recall", "UAR (mean recall)", {"average": "macro"}),
        )
        if card.get(name) is not None
    ]


def address_card(card: str, repo_id: str) -> str:
    """Turn what a card says of folders beside its own into what holds on the Hub, where it is `repo_id`.

    Args:
        card: Text of the card.
        repo_id: Where it is to go; the checkpoints that it names are beside it there.
    """
    namespace = repo_id.partition("/")[0]
    card = re.sub(r"\]\(\.\./([\w.-]+)/README\.md\)", rf"](https://huggingface.co/{namespace}/\1)", card)
    card = re.sub(r'from_pretrained\("[\w.-]+"', f'from_pretrained("{repo_id}"', card)
    parsed = ModelCard(card)
    data: Any = parsed.data
    base = data.base_model
    names = [base] if isinstance(base, str) else base or []
    addressed = [name if "/" in name else f"{namespace}/{name}" for name in names]
    if addressed:
        data.base_model = addressed[0] if isinstance(base, str) else addressed
    return str(parsed)
