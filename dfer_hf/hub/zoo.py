"""Tables of all shipped checkpoints for the manual: size, data, licence and cost, from their results and cards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard

from .evaluation import NOTHING, markdown_table

Measured = Mapping[Path, Mapping[str, Any]]
"""Card of a checkpoint to the content of its `results.json`."""


ZOO_HEAD = ("checkpoint", "parameters", "MB", "stills: UAR", "half noise: UAR", "learnt from", "weights")
ZOO_SAYS = "UAR is mean recall in percent, of FER+'s valid split and of clips made of it of which half is noise."
"""What stands below the table."""


def zoo_row(results: Mapping[str, Any], card: ModelCard) -> list[str]:
    """Name, size, two figures, data and licence of a checkpoint: the columns of `ZOO_HEAD`."""
    benches, data = results["benches"], card.data
    cost = benches.get("cost")
    stills = benches.get("ferplus", {}).get("aligned", {}).get("uar")
    noisy = benches.get("clips", {}).get("by_share", {}).get("50%", {}).get("uar")
    return [
        results["checkpoint"],
        f"{cost['parameters'] / 1e6:.1f} M" if cost else NOTHING,
        f"{cost['megabytes']:.1f}" if cost else NOTHING,
        *(NOTHING if figure is None else f"{figure:.1f}" for figure in (stills, noisy)),
        ", ".join(getattr(data, "datasets", None) or [NOTHING]),
        getattr(data, "license", None) or NOTHING,
    ]


def render_zoo(measured: Measured, *, root: str) -> str:
    """Lay out size, two figures, data and licence of each checkpoint, with links to the cards.

    Args:
        measured: Cards and results.
        root: Way from the page to the root of the repository, such as `../`, or empty.
    """
    found = (zoo_row(results, ModelCard(path.read_text(encoding="utf-8"))) for path, results in measured.items())
    rows = ([f"[{name}]({root}model_cards/{name}/README.md)", *others] for name, *others in found)
    return "\n".join([*markdown_table(ZOO_HEAD, rows), "", ZOO_SAYS, ""])


def render_costs(measured: Measured) -> str:
    """Lay out what an analysis with each checkpoint costs, and with which versions that was measured."""
    head = [
        "checkpoint",
        "CPU seconds for a second of video",
        "over the frame recogniser",
        "explained over not",
        "memory at most",
        "versions",
    ]
    rows = []
    for results in measured.values():
        cost, versions = results["benches"].get("cost"), results["versions"]
        if cost:
            rows.append([
                results["checkpoint"],
                f"{cost['cpu_seconds_of_video_second']:.2f}",
                f"{cost['whole_way_over_plain']:.2f}",
                f"{cost['explained_over_plain']:.2f}",
                f"{cost['peak_megabytes']} MB",
                ", ".join(f"{name} {version}" for name, version in versions.items() if name != "numpy"),
            ])  # fmt: skip
    said = "CPU time of the whole way of the example clip, from reading to the answer, without starting Python."
    return "\n".join([*markdown_table(head, rows), "", said, ""])
