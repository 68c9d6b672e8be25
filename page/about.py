"""The tab that says what the models are, what they learnt from, how well they answer, and what not to use them for.

Figures and data are those of the cards and results that came with the checkpoints.
"""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from dfer_hf.checkpoint_facts import trained_on
from dfer_hf.checkpoints import CARD, CONFIG, shipped_checkpoints
from dfer_hf.hub.card import RESULTS
from dfer_hf.hub.evaluation import NOTHING
from dfer_hf.hub.metadata import SOURCES
from dfer_hf.hub.zoo import ZOO_HEAD, ZOO_SAYS, zoo_row
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from dfer_hf.visualize.text import LIMITS_OF_USE

LIMITS = (
    "None of the shipped checkpoints was trained or measured on video of real people.",
    "Disgust and fear are rare in the training data and least reliable.",
)
BEFORE = (
    "Ask them, say what for and how long you keep what, and let them say no without a price.",
    "Report what is not sure as not sure, and frames without a face as such.",
    "Keep predictions as carefully as the videos: they are personal data.",
    "Let nobody be graded, hired, paid, insured, policed or refused on an answer.",
)
FILES = (
    "The page analyses each upload in a process of its own, keeps nothing in the browser, deletes uploads and results "
    "when it is closed and after an hour at the latest, and sends nothing anywhere.",
    "What an assistant uploads, and what it is answered, is deleted ten minutes after its last question at the "
    "latest.",
    "Nothing in this package recognises who somebody is: a person's number in a video starts anew when they come "
    "back after more than three seconds.",
)
"""These sentences stand in docs/responsible-use.md, too."""

SYSTEMS = {
    "dfer_aen": (
        "AEN",
        "A guide that learnt from single pictures says what each frame shows, and the network learns from it which "
        "frames of a clip to trust. It tells positive, neutral and negative apart first, and then the expressions.",
        "Lee et al., Frame Level Emotion Guided Dynamic Facial Expression Recognition with Emotion Grouping, "
        "CVPRW 2023",
    ),
    "dfer_nr_dfernet": (
        "NR-DFERNet",
        "It looks at what changes from one frame to the next, and keeps many neutral frames from outvoting one clear "
        "moment.",
        "Li et al., NR-DFERNet: Noise-Robust Network for Dynamic Facial Expression Recognition, 2022",
    ),
    "dfer_keypoint_gcn": (
        "Key-points GCN",
        "It reads features at 18 points of the face, lets neighbouring points strengthen each other, and sums them up "
        "by region and over time.",
        "Huang et al., Dynamic facial expression recognition based on spatial key-points optimized region feature "
        "fusion and temporal self-attention, Engineering Applications of Artificial Intelligence, 2024",
    ),
    "dfer_cfc_sp": (
        "CFC-SP",
        "Several nets vote for the group of each frame, another one decides inside the negative group, and the "
        "answers are smoothed over time.",
        "Xue et al., Coarse-to-Fine Cascaded Networks with Smooth Predicting for Video Facial Expression Recognition, "
        "CVPRW 2022",
    ),
    "dfer_m3dfel": (
        "M3DFEL",
        "It takes a clip for a bag of short pieces of which some show the expression, and learns how to add them up.",
        "Wang et al., Rethinking the Learning Paradigm for Dynamic Facial Expression Recognition, CVPR 2023; "
        "Li et al., Intensity-Aware Loss for Dynamic Facial Expression Recognition in the Wild, AAAI 2023",
    ),
    "dfer_frame_resnet": (
        "Frame recogniser",
        "The plainest baseline: a ResNet-18 answers each frame alone, and the mean over the frames is the clip's "
        "answer.",
        "He et al., Deep Residual Learning for Image Recognition, CVPR 2016",
    ),
    "dfer_former_dfer": (
        "Former-DFER",
        "A baseline: a transformer over the places of each frame, and a second one over time.",
        "Zhao and Liu, Former-DFER: Dynamic Facial Expression Recognition Transformer, ACM MM 2021",
    ),
    "dfer_r3d": (
        "R3D-18",
        "A baseline: a ResNet that sees the whole clip in three dimensions, the third of which is time.",
        "Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018",
    ),
    "dfer_resnet_rnn": (
        "ResNet-18 with LSTM or GRU",
        "A baseline: a ResNet-18 sees each frame, and a recurrent layer remembers them in turn.",
        "As in Jiang et al., DFEW: A Large-Scale Database for Recognizing Dynamic Facial Expressions in the Wild, "
        "ACM MM 2020",
    ),
}
"""Type of a model: name of the system, what it does, and its paper."""

RECALL_SAYS = (
    "So many of a hundred faces of each expression are recognised, in the aligned pictures of FER+'s valid split."
)


def about_html(names: Sequence[str]) -> str:
    """Say what the models of a page are.

    Args:
        names: Of the checkpoints; what did not come with the package has no card, and is only named.
    """
    meaning, law = (re.split(r"(?<=\.) (?=[A-Z])", paragraph) for paragraph in LIMITS_OF_USE)
    folders = {name: folder for name, folder in shipped_checkpoints().items() if name in names}
    cards = {
        folder: ModelCard((folder / CARD).read_text(encoding="utf-8"))
        for folder in folders.values()
        if (folder / CARD).is_file()
    }
    parts = [
        ("What an answer says", _sentences(meaning)),
        ("What the answers are bad at", _list(LIMITS)),
        ("What the law says", _sentences(law)),
        ("Before you analyse people", _list(BEFORE)),
        ("What happens to files", _sentences(FILES)),
        ("The systems", _systems(folders)),
        (
            "The models of this page",
            _figures(cards) + "".join(_model(folder.name, card) for folder, card in cards.items()),
        ),
    ]
    return "".join(f"<h2>{title}</h2>{text}" for title, text in parts if text)


def _systems(folders: dict[str, Path]) -> str:
    of_system: dict[str, list[str]] = {}
    for name, folder in folders.items():
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        of_system.setdefault(config["model_type"], []).append(name)
    items = []
    for system, (title, does, paper) in SYSTEMS.items():
        here = f' <code translate="no">{escape(", ".join(of_system[system]))}</code>' if system in of_system else ""
        items.append(
            f'<dt translate="no">{escape(title)}{here}</dt>'
            f'<dd>{escape(does)} <cite translate="no">{escape(paper)}.</cite></dd>'
        )
    return f"<dl>{''.join(items)}</dl>"


def _figures(cards: dict[Path, ModelCard]) -> str:
    """What was measured, as two tables; nothing where there are no results."""
    measured = [
        (json.loads((folder / RESULTS).read_text(encoding="utf-8")), card)
        for folder, card in cards.items()
        if (folder / RESULTS).is_file()
    ]
    if not measured:
        return ""
    rows = [zoo_row(results, card) for results, card in measured]
    recall = [[results["checkpoint"], *_recall(results["benches"])] for results, _ in measured]
    return _table(ZOO_HEAD, rows, says=ZOO_SAYS) + _table(
        ("checkpoint", *(emotion.value for emotion in SEVEN_EMOTIONS)), recall, says=RECALL_SAYS
    )


def _recall(benches: dict[str, Any]) -> list[str]:
    found = benches.get("ferplus", {}).get("aligned", {}).get("recall", {})
    return [f"{found[emotion]:.0f}" if emotion in found else NOTHING for emotion in SEVEN_EMOTIONS]


def _model(name: str, card: ModelCard) -> str:
    """What a checkpoint learnt from, to unfold: its data with their licences, and its card's own words."""
    data = getattr(card.data, "datasets", None) or []
    learnt = "".join(f"<li>{escape(': '.join(SOURCES.get(source, (source,))))}</li>" for source in data)
    words = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in trained_on(card.text))
    return (
        f'<details><summary><span translate="no">{escape(name)}</span> <span>data, licences and training</span>'
        f'</summary><div translate="no" lang="en"><ul>{learnt}</ul>{words}</div></details>'
    )


def _sentences(sentences: Iterable[str]) -> str:
    return f"<p>{' '.join(f'<span>{escape(sentence)}</span>' for sentence in sentences)}</p>"


def _list(sentences: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in sentences)}</ul>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, says: str) -> str:
    """A table that scrolls by itself where it is too wide."""
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in rows
    )
    said = escape(says)
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{said}"><table><thead><tr>{heads}</tr></thead>'
        f'<tbody translate="no">{lines}</tbody></table></div><p>{said}</p>'
    )
