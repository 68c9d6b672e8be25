"""Figures of a checkpoint's card: confidence against accuracy, and UAR over the share of noise; no face is in them."""

from pathlib import Path
from typing import Any

import numpy as np

from training.evaluation.calibration import Reliability
from training.evaluation.figures import draw_reliability, new_panels, plain_axes, write_figure

RELIABILITY, NOISE = "reliability.png", "noise.png"
_LINES = (("uar", "system", "#d55e00"), ("own_frames", "mean of its frame answers", "#0072b2"),
          ("recogniser", "frame recogniser", "#555555"))  # fmt: skip


def draw_checkpoint(results: dict[str, Any], folder: Path) -> None:
    """Draw what was measured into a checkpoint's folder; benches that were not run are left out."""
    benches, name = results["benches"], results["checkpoint"]
    stills = benches["ferplus"]["aligned"]["confidence"] if "ferplus" in benches else None
    corrupted = benches["corruptions"]["confidence"] if "corruptions" in benches else None
    clips = benches["clips"]["confidence"] if "clips" in benches else None
    shown = {"stills": stills, "corrupted stills": corrupted, "clips": clips}
    reliabilities = {title: _reliability(found) for title, found in shown.items() if found}
    if reliabilities:
        draw_reliability(reliabilities, folder / RELIABILITY, title=name)
    if "clips" in benches:
        draw_noise(benches["clips"]["by_share"], folder / NOISE, title=name)


def draw_noise(by_share: dict[str, Any], path: Path, *, title: str) -> None:
    """Draw UAR over the share of noise, with the system's 95 % intervals."""
    figure, (axes,) = new_panels(1, width=5.2, height=3.8)
    places = np.arange(len(by_share))
    for field, label, colour in _LINES:
        values = [card[field] for card in by_share.values()]
        axes.plot(places, values, "o-", color=colour, label=label, ms=4, zorder=3)
    ends = np.array([card["uar_interval"] for card in by_share.values()])
    axes.fill_between(places, ends[:, 0], ends[:, 1], color=_LINES[0][2], alpha=0.15, lw=0)
    axes.set_xticks(places, [share.replace("%", " %") for share in by_share])
    axes.set(xlabel="frames that are noise", ylabel="UAR, %", ylim=(0, 100))
    axes.set_title(title, fontsize=10)
    axes.legend(loc="lower left", frameon=False, fontsize=9)
    plain_axes(axes)
    write_figure(figure, path)


def _reliability(confidence: dict[str, Any]) -> Reliability:
    bins = confidence["bins"]
    return Reliability(
        np.array(bins["share"]), *(np.array(bins[name], dtype=float) for name in ("confidence", "accuracy"))
    )
