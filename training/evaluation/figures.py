"""Figures of an evaluation as PNG files: confusions, recalls, reliability, and features as t-SNE.

They are drawn without a window and without matplotlib's global state, so that the same figures give the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dfer_hf.visualize.colours import Colour, group_colours
from training.evaluation.calibration import Reliability
from training.evaluation.metrics import Confusion, class_recalls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150
GREY, LIGHT_GREY = "#555555", "#e4e4e4"
CONFUSION_COLOURS = "Blues"
MAX_TSNE_POINTS = 3000
PCA_SIZE = 50
"""Number of principal components that t-SNE starts from (van der Maaten and Hinton 2008, Sec. 4.2)."""

# Sasha Trubetskoy's list of distinct colours, without those too light for white paper; with the markers they stay
# apart for colour-blind eyes as well.
_CLASS_COLOURS = (
    "#f58231", "#4363d8", "#808080", "#e6194b", "#c9a800", "#3cb44b", "#911eb4", "#42d4f4", "#9a6324", "#000075",
    "#f032e6", "#469990",
)  # fmt: skip
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "*", "h", "p")


def draw_confusion(confusion: Confusion, path: Path, *, title: str) -> None:
    """Draw a confusion matrix: in every cell the share of its row in percent, and the number of clips below."""
    side = 0.78 * len(confusion.counts) + 1.9
    figure, axes = _new_figure(side + 0.9, side)
    draw_confusion_on(figure, axes, confusion, title=title)
    write_figure(figure, path)


def draw_confusion_on(figure: "Figure", axes: "Axes", confusion: Confusion, *, title: str) -> None:
    """Draw a confusion matrix into a panel of a figure; see `draw_confusion`."""
    counts = confusion.counts
    totals = counts.sum(axis=1, keepdims=True)
    shares = 100 * counts / np.maximum(totals, 1)
    num_classes = len(counts)
    image = axes.imshow(shares, cmap=CONFUSION_COLOURS, vmin=0, vmax=100)
    for row, column in np.ndindex(*counts.shape):
        if not totals[row]:
            continue
        colour = "white" if shares[row, column] > 55 else "#222222"
        axes.text(column, row - 0.1, f"{shares[row, column]:.1f}", ha="center", va="center", color=colour)
        count = f"{counts[row, column]}"
        axes.text(column, row + 0.24, count, ha="center", va="center", color=colour, fontsize=7)
    for row in np.flatnonzero(totals == 0).tolist():
        axes.text((num_classes - 1) / 2, row, "no clip of this class", ha="center", va="center", color=GREY)
    names = [f"{name} ({total})" for name, total in zip(confusion.names, totals[:, 0], strict=True)]
    axes.set_xticks(range(num_classes), confusion.names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(num_classes), names)
    axes.set_xlabel("answer")
    axes.set_ylabel("label (clips)")
    axes.set_title(f"{title}\nWAR {100 * confusion.war:.2f} %, UAR {100 * confusion.uar:.2f} %", fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("% of the row")
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]


def draw_recalls(
    confusion: Confusion, recall_ends: np.ndarray, path: Path, *, groups: Mapping[str, Sequence[str]], title: str
) -> None:
    """Draw the recall of each class as a bar with its confidence interval, coloured by its group.

    Args:
        confusion: Of the fine classes.
        recall_ends: Lower and upper ends of the intervals from 0 to 1, `(2, C)`; NaN where there is none.
        path: PNG file to write.
        groups: Coarse class to its fine classes.
        title: What was measured.
    """
    colours = group_colours(groups)
    group_of = {name: group for group, names in groups.items() for name in names}
    recalls = 100 * class_recalls(confusion.counts)
    known = ~np.isnan(recalls)
    places = np.arange(len(recalls))
    figure, axes = _new_figure(max(5.0, 0.85 * len(recalls) + 1.6), 3.8)
    faces = [_rgb(colours[group_of[name]]) for name in confusion.names]
    axes.bar(places, np.where(known, recalls, 0), color=faces, width=0.72, zorder=2)
    spread = np.abs(100 * recall_ends - recalls)[:, known]
    axes.errorbar(
        places[known], recalls[known], yerr=spread, fmt="none", ecolor="#222222", capsize=4, lw=1.2, zorder=3
    )
    tops = np.where(known, np.fmax(recalls, 100 * recall_ends[1]), 0)
    for place in places.tolist():
        text = f"{recalls[place]:.1f}" if known[place] else "no clip"
        axes.text(place, tops[place] + 2, text, ha="center", va="bottom", fontsize=9)
    axes.axhline(100 * confusion.uar, color=GREY, lw=1, ls="--", zorder=1)
    axes.text(len(recalls) - 0.42, 100 * confusion.uar, f" UAR\n {100 * confusion.uar:.1f}", color=GREY, va="center")
    totals = confusion.counts.sum(axis=1)
    labels = [f"{name}\n{total}" for name, total in zip(confusion.names, totals, strict=True)]
    axes.set_xticks(places, labels, fontsize=9)
    axes.set_xlim(-0.6, len(recalls) - 0.4)
    axes.set_ylim(0, 112)
    axes.set_yticks(range(0, 101, 20))
    axes.set_ylabel("recall, %")
    axes.set_title(f"{title}: recall of each class, 95 % interval", fontsize=10)
    plain_axes(axes)
    handles = [_patch(colours[group], str(group)) for group in groups]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    write_figure(figure, path)


def draw_reliability(reliabilities: Mapping[str, Reliability], path: Path, *, title: str) -> None:
    """Draw accuracy over confidence beside how many clips have it, a panel for each reliability by name."""
    figure, panels = new_panels(len(reliabilities), width=4.2, height=4.6)
    for axes, (name, reliability) in zip(panels, reliabilities.items(), strict=True):
        num_bins = len(reliability.counts)
        edges = np.arange(num_bins) / num_bins
        filled = reliability.counts > 0
        shares = reliability.counts / reliability.counts.sum()
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--", zorder=3)
        bars = {"width": 1 / num_bins, "align": "edge", "edgecolor": "white", "lw": 0.6}
        axes.bar(edges[filled], reliability.accuracy[filled], color="#4a90c2", label="accuracy", zorder=2, **bars)
        axes.bar(edges, shares, color="#222222", alpha=0.45, label="share of clips", zorder=4, **bars)
        dots = {"ms": 3.5, "color": "#d55e00", "zorder": 5, "clip_on": False, "label": "at its mean confidence"}
        axes.plot(reliability.confidence[filled], reliability.accuracy[filled], "o", **dots)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", aspect="equal")
        axes.set_title(f"{name}: ECE {100 * reliability.expected_calibration_error:.2f} %", fontsize=10)
        plain_axes(axes)
    panels[0].set_ylabel("accuracy")
    panels[0].legend(loc="upper left", frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path)


def draw_features(
    features: np.ndarray,
    labels: np.ndarray,
    path: Path,
    *,
    label_names: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    title: str,
    seed: int = 0,
) -> None:
    """Draw features as t-SNE, once coloured by class as NR-DFERNet's Fig. 6 and once by group as AEN's Fig. 7.

    Args:
        features: Of each clip, `(N, D)`; of more than `MAX_TSNE_POINTS` a random part is drawn, and the title says so.
        labels: True classes, `(N,)`.
        path: PNG file to write.
        label_names: Fine classes in order.
        groups: Coarse class to its fine classes.
        title: What was measured.
        seed: Of the embedding and the part.

    Raises:
        ValueError: If there are fewer than three clips.
        ImportError: If scikit-learn is not installed.
    """
    chosen = np.arange(len(features))
    if len(features) > MAX_TSNE_POINTS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, MAX_TSNE_POINTS, replace=False))
        title = f"{title} ({MAX_TSNE_POINTS} of {len(features)} clips)"
    points, labels = embed(features[chosen], seed=seed), labels[chosen]
    figure, panels = new_panels(2, width=5.0, height=5.6)
    for axes, by_group in zip(panels, (False, True), strict=True):
        draw_points(axes, points, labels, label_names=label_names, groups=groups, by_group=by_group)
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path)


def draw_points(
    axes: "Axes",
    points: np.ndarray,
    labels: np.ndarray,
    *,
    label_names: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    by_group: bool,
) -> None:
    """Draw points of the plane `(N, 2)`, coloured by their classes or by the groups of these."""
    names = [str(name) for name in label_names]
    group_of = {str(name): str(group) for group, members in groups.items() for name in members}
    of_group = {str(group): _rgb(colour) for group, colour in group_colours(map(str, groups)).items()}
    class_colours = {name: _CLASS_COLOURS[i % len(_CLASS_COLOURS)] for i, name in enumerate(names)}
    size = float(np.clip(6000 / len(points), 6, 30))
    for index, name in enumerate(names):
        there = points[labels == index]
        colour = of_group[group_of[name]] if by_group else class_colours[name]
        marker = "o" if by_group else _MARKERS[index % len(_MARKERS)]
        axes.scatter(*there.T, s=size, color=colour, marker=marker, alpha=0.75, linewidths=0)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color(LIGHT_GREY)
    shown = of_group if by_group else class_colours
    markers = ["o" if by_group else _MARKERS[i % len(_MARKERS)] for i in range(len(shown))]
    handles = [_dot(colour, marker, name) for (name, colour), marker in zip(shown.items(), markers, strict=True)]
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=4, frameon=False, fontsize=9)


def embed(features: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Embed features `(N, D)` in the plane by t-SNE, `(N, 2)`; the same for the same seed.

    Raises:
        ValueError: If there are fewer than three clips, or their features do not differ.
        ImportError: If scikit-learn is not installed.
    """
    if len(features) < 3:
        raise ValueError(f"Expected three clips or more for t-SNE, got {len(features)}.")
    try:
        from sklearn.decomposition import PCA
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError(
            "Expected scikit-learn for t-SNE, but it is not installed. Run `pip install scikit-learn`."
        ) from error
    values = features.astype(np.float64)
    values -= values.mean(axis=0)
    scale = values.std()
    # T-SNE would divide by zero and crash.
    if not 0 < scale < np.inf:
        raise ValueError(
            "Expected finite features that differ between the clips, got others. Check the checkpoint's weights."
        )
    values /= scale
    size = min(PCA_SIZE, *values.shape)
    values = PCA(size, svd_solver="full").fit_transform(values)
    perplexity = min(30.0, (len(values) - 1) / 3)
    init = "pca" if values.shape[1] >= 2 else "random"
    return TSNE(2, perplexity=perplexity, init=init, random_state=seed, n_jobs=1).fit_transform(values)


def _new_figure(width: float, height: float) -> tuple["Figure", "Axes"]:
    figure, panels = new_panels(1, width=width, height=height)
    return figure, panels[0]


def new_panels(count: int, *, width: float, height: float) -> tuple["Figure", list["Axes"]]:
    """Create a figure of panels in a row, each of a size in inches."""
    figure, rows = new_grid(1, count, width=width, height=height)
    return figure, list(rows[0])


def new_grid(rows: int, columns: int, *, width: float, height: float) -> tuple["Figure", Any]:
    """Create a figure of panels in rows, each of a size in inches; the panels are an array `(rows, columns)`.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Expected matplotlib for figures, but it is not installed. Run `pip install matplotlib`, "
            "or leave out --figures."
        ) from error
    figure = Figure(figsize=(width * columns, height * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False)


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as a PNG file; the same figure gives the same bytes."""
    # A version in the file would change its bytes.
    figure.savefig(path, bbox_inches="tight", pad_inches=0.1, metadata={"Software": None})


def plain_axes(axes: "Axes") -> None:
    """Keep two spines of the axes and horizontal grid lines."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=LIGHT_GREY, lw=0.8, zorder=0)
    axes.set_axisbelow(True)


def _rgb(colour: Colour) -> tuple[float, float, float]:
    red, green, blue = colour
    return red / 255, green / 255, blue / 255


def _patch(colour: Colour, name: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=_rgb(colour), label=name)


def _dot(colour: Any, marker: str, name: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker=marker, color=colour, label=name)
