"""Draw the figures of the papers that no evaluation draws.

    python -m training.papers.figures gain runs/nr_dfernet_dfew_5 --output figure4.png
    python -m training.papers.figures attention runs/without_token runs/with_token --prepared <cache> --clips 00012 …
    python -m training.papers.figures levels runs/aen_dfew_1 --prepared <cache> --clips 00012 … --output figure6.png
    python -m training.papers.figures features runs/former_dfer_dfew_1 runs/aen_dfew_1 --corpus dfew --fold 1 \
        --data-root <DFEW> --prepared <cache> --output figure7.png
    python -m training.papers.figures confusions without/results.json with/results.json --output confusions.png

`gain` is NR-DFERNet's Fig. 4, `attention` its Fig. 5, `features` its Fig. 6 and AEN's Fig. 7, `levels` AEN's Fig. 6,
and `confusions` the two confusion matrices of NR-DFERNet's supplement, with and without the filter.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from dfer_hf.checkpoints import LoadedCheckpoint, load_checkpoint
from dfer_hf.explain.gradients import layer_cam
from dfer_hf.models.modeling_nr_dfernet import NrDfernetForVideoClassification
from training.cache.prepared import PreparedClips
from training.data.clip_dataset import ClipSource
from training.data.sources import build_test_source
from training.datasets.registry import find_corpus
from training.engine.run_folder import RunFolder, locate_checkpoint
from training.evaluation.figures import draw_confusion_on, draw_points, embed, new_grid, plain_axes, write_figure
from training.evaluation.metrics import Confusion
from training.evaluation.predict import Predictions, predict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, float]
WITHOUT = "_without_filter"
AEN_LEVELS = {level: f"trunk.encoder.stages.{level + 1}" for level in range(3)}
"""Semantic level s to the part of AEN whose maps it shows."""


def draw_gain(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Draw WAR by epoch with and without the snippet filter, and what the filter gains (NR-DFERNet, Fig. 4).

    Args:
        rows: Rows of the log, one for each epoch.
        path: PNG file to write.
        title: Which run it is.

    Raises:
        ValueError: If the log has no figures without the filter.
    """
    if any("war" not in row or f"war{WITHOUT}" not in row for row in rows):
        raise ValueError(
            f"Expected a log with `war` and `war{WITHOUT}` for each epoch, got {', '.join(rows[0])}. Train with "
            "`also_measured.without_filter = { snippet_filter = false }`, as training/recipes/nr_dfernet_dfew.toml."
        )
    epochs = [row["epoch"] for row in rows]
    with_filter, without = ([100 * row[name] for row in rows] for name in ("war", f"war{WITHOUT}"))
    figure, panels = new_grid(2, 1, width=6.4, height=2.8)
    above, below = panels[:, 0]
    above.plot(epochs, with_filter, color="#d55e00", label="with the filter")
    above.plot(epochs, without, color="#4a90c2", label="without")
    above.set_ylabel("WAR, %")
    above.legend(frameon=False)
    below.bar(epochs, np.subtract(with_filter, without), color="#555555")
    below.set(xlabel="epoch", ylabel="gain, points")
    for axes in (above, below):
        plain_axes(axes)
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path)


def multiplied_attention(attentions: Sequence[torch.Tensor]) -> torch.Tensor:
    """Multiply the class token's attention to each token over the layers, and normalise it (NR-DFERNet, Sec. 4.5).

    This is what the paper draws. It ignores how tokens mix between layers, which `frame_weights` take into account.
    The paper does not say how heads are combined: we take their mean, the authors' later code takes the first
    (muse1998/IAL-for-Facial-Expression-Recognition at 39a24b6, modules.py).

    Args:
        attentions: Each layer's weights, `(batch, heads, tokens, tokens)`; the class token is the first.

    Returns:
        Weights of the tokens behind the class token, `(batch, tokens - 1)`, summing to 1.
    """
    layers = torch.stack([weights.float().mean(dim=1)[:, 0, 1:] for weights in attentions])
    # The product, normalised; as a sum of logarithms it does not vanish.
    return layers.clamp_min(torch.finfo(torch.float32).tiny).log().sum(dim=0).softmax(dim=-1)


@torch.no_grad()
def attention_of_frames(checkpoint: LoadedCheckpoint, clip: np.ndarray) -> np.ndarray:
    """Compute the class token's attention to each frame that is a token, all but the last, `(num_frames - 1,)`."""
    if not isinstance(checkpoint.model, NrDfernetForVideoClassification):
        raise ValueError(f"Expected a checkpoint of NR-DFERNet, got {type(checkpoint.model).__name__}.")
    output = checkpoint.model(**_inputs(checkpoint, clip), output_attentions=True)
    return multiplied_attention(output.attentions)[0].numpy()


def draw_attention(
    clips: Mapping[str, np.ndarray], weights: Mapping[str, Mapping[str, np.ndarray]], path: Path
) -> None:
    """Draw the frames of clips, and below them the attention of models to each frame (NR-DFERNet, Fig. 5).

    Args:
        clips: Frames by name of the clip, uint8 `(num_frames, height, width, 3)`.
        weights: By name of the model and the clip, `(num_frames - 1,)`.
        path: PNG file to write.
    """
    figure, blocks = _grid_of_clips(clips, rows_per_clip=1 + len(weights))
    for (name, frames), block in zip(clips.items(), blocks, strict=True):
        for axes, frame in zip(block[0], frames, strict=False):
            axes.imshow(frame)
        for row, (model, of_clips) in zip(block[1:], weights.items(), strict=True):
            row[0].set_ylabel(model, fontsize=6)
            strongest = max(values[name].max() for values in weights.values())
            for axes, weight in zip(row, of_clips[name], strict=False):
                axes.imshow([[weight]], vmin=0, vmax=strongest, cmap="Reds")
                axes.text(0, 0, f"{weight:.2f}", ha="center", va="center", fontsize=7)
    write_figure(figure, path)


def evidence_by_level(checkpoint: LoadedCheckpoint, clip: np.ndarray) -> dict[int, np.ndarray]:
    """Compute the evidence for AEN's answer at each semantic level, `(num_frames, h, w)` from 0 to 1."""
    if checkpoint.model.config.model_type != "dfer_aen":
        raise ValueError(f"Expected a checkpoint of AEN, got {type(checkpoint.model).__name__}.")
    pixel_values = _inputs(checkpoint, clip)["pixel_values_videos"]
    return {
        level: layer_cam(checkpoint.model, pixel_values, layer=layer).scaled_maps[0].numpy()
        for level, layer in AEN_LEVELS.items()
    }


def draw_levels(clips: Mapping[str, np.ndarray], evidence: Mapping[str, Mapping[int, np.ndarray]], path: Path) -> None:
    """Draw the evidence for AEN's answer at each semantic level (AEN, Fig. 6).

    The paper uses Grad-CAM; ours is LayerCAM, which differs in that every place has a weight of its own: see
    `dfer_hf.explain.gradients`.

    Args:
        clips: Frames by name of the clip, uint8 `(num_frames, height, width, 3)`.
        evidence: By name of the clip and level, `(num_frames, h, w)`.
        path: PNG file to write.
    """
    figure, blocks = _grid_of_clips(clips, rows_per_clip=1 + len(AEN_LEVELS))
    for (name, frames), block in zip(clips.items(), blocks, strict=True):
        for row, level in zip(block, [None, *AEN_LEVELS], strict=True):
            row[0].set_ylabel("" if level is None else f"s = {level}", fontsize=8)
            for place, (axes, frame) in enumerate(zip(row, frames, strict=False)):
                axes.imshow(frame)
                if level is not None:
                    height, width = frame.shape[:2]
                    maps = torch.from_numpy(evidence[name][level][place])[None, None]
                    maps = nn.functional.interpolate(maps, size=(height, width), mode="bilinear")[0, 0]
                    axes.imshow(maps.numpy(), cmap="jet", vmin=0, vmax=1, alpha=0.45)
    write_figure(figure, path)


def draw_features_beside(systems: Mapping[str, Predictions], path: Path, *, title: str, seed: int = 0) -> None:
    """Draw the features of several systems as t-SNE, each by class and by group (NR-DFERNet, Fig. 6; AEN, Fig. 7).

    Args:
        systems: Predictions with features of the same clips, by name.
        path: PNG file to write.
        title: What was measured.
        seed: Of the embeddings.
    """
    figure, panels = new_grid(len(systems), 2, width=5.0, height=5.2)
    for row, (name, predictions) in zip(panels, systems.items(), strict=True):
        if predictions.features is None:
            raise ValueError(f"Expected predictions with features of {name}, got none.")
        points = embed(predictions.features, seed=seed)
        for axes, by_group in zip(row, (False, True), strict=True):
            axes.set_title(name, fontsize=9)
            draw_points(
                axes,
                points,
                predictions.labels,
                label_names=predictions.label_names,
                groups=predictions.groups,
                by_group=by_group,
            )
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path)


def draw_confusions_beside(results: Mapping[str, Mapping], path: Path) -> None:
    """Draw the confusions of several results side by side, such as those with and without NR-DFERNet's filter.

    Args:
        results: Content of `results.json` by the title of the panel.
        path: PNG file to write.
    """
    figure, panels = new_grid(1, len(results), width=7.6, height=7.0)
    for axes, (name, content) in zip(panels[0], results.items(), strict=True):
        fine = content["fine"]
        confusion = Confusion(tuple(fine["recall"]), np.array(fine["confusion"]))
        draw_confusion_on(figure, axes, confusion, title=name)
    write_figure(figure, path)


def _inputs(checkpoint: LoadedCheckpoint, clip: np.ndarray) -> dict[str, torch.Tensor]:
    frames = torch.from_numpy(clip).permute(0, 3, 1, 2)
    return dict(checkpoint.processor([frames], return_tensors="pt"))


def _grid_of_clips(clips: Mapping[str, np.ndarray], *, rows_per_clip: int) -> tuple["Figure", np.ndarray]:
    """Create bare panels `(clips, rows, frames)`, with the rows of each clip under its name."""
    figure, panels = new_grid(rows_per_clip * len(clips), max(map(len, clips.values())), width=0.9, height=0.9)
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    blocks = panels.reshape(len(clips), rows_per_clip, -1)
    for name, block in zip(clips, blocks, strict=True):
        block[0, 0].set_title(name, loc="left", fontsize=8)
    return figure, blocks


def _load(word: str) -> LoadedCheckpoint:
    return load_checkpoint(locate_checkpoint(word)[0])


def _name(word: str) -> str:
    return Path(word).resolve().name


def _clips(arguments: argparse.Namespace, checkpoint: LoadedCheckpoint) -> dict[str, np.ndarray]:
    """Read the frames of the command line's clips that the model reads."""
    prepared = PreparedClips(arguments.prepared)
    prepared.check_processor(checkpoint.processor)
    clips = {}
    for name in arguments.clips:
        seen = prepared.frames_with_face(name)
        clips[name] = prepared.read(name, seen[checkpoint.processor.sampling.indices(len(seen))])
    return clips


def _gain(arguments: argparse.Namespace) -> None:
    run = RunFolder(arguments.run)
    draw_gain(run.read_progress().rows, arguments.output, title=_name(arguments.run))


def _attention(arguments: argparse.Namespace) -> None:
    models = {_name(word): _load(word) for word in arguments.runs}
    clips = _clips(arguments, next(iter(models.values())))
    weights = {
        model: {name: attention_of_frames(checkpoint, clip) for name, clip in clips.items()}
        for model, checkpoint in models.items()
    }
    draw_attention(clips, weights, arguments.output)


def _levels(arguments: argparse.Namespace) -> None:
    checkpoint = _load(arguments.run)
    clips = _clips(arguments, checkpoint)
    evidence = {name: evidence_by_level(checkpoint, clip) for name, clip in clips.items()}
    draw_levels(clips, evidence, arguments.output)


def _features(arguments: argparse.Namespace) -> None:
    split = find_corpus(arguments.corpus).load(arguments.data_root, arguments.fold)
    prepared, systems = PreparedClips(arguments.prepared), {}
    for word in arguments.runs:
        checkpoint = _load(word)
        source = build_test_source(split.test, split.label_names, prepared, checkpoint.processor, checkpoint.model)
        if not isinstance(source, ClipSource):
            raise ValueError(f"Expected a dataset of clips, got {arguments.corpus}, whose frames are labelled.")
        systems[_name(word)] = predict(checkpoint.model, source, batch_size=16, with_features=True)
    draw_features_beside(systems, arguments.output, title=f"{arguments.corpus}, features of the clips (t-SNE)")


def _confusions(arguments: argparse.Namespace) -> None:
    results = {str(path.parent): json.loads(path.read_text(encoding="utf-8")) for path in arguments.results}
    draw_confusions_beside(results, arguments.output)


def build_parser() -> argparse.ArgumentParser:
    """Declare the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="figure", required=True)
    gain = commands.add_parser("gain", help="WAR by epoch with and without the snippet filter")
    gain.add_argument("run", type=Path, help="run folder of NR-DFERNet")
    attention = commands.add_parser("attention", help="attention of the class token to the frames of clips")
    attention.add_argument("runs", nargs="+", help="runs or checkpoints of NR-DFERNet")
    levels = commands.add_parser("levels", help="evidence at each semantic level of AEN")
    levels.add_argument("run", help="run or checkpoint of AEN")
    features = commands.add_parser("features", help="features of several systems beside each other")
    features.add_argument("runs", nargs="+", help="runs or checkpoints, the baseline first")
    features.add_argument("--corpus", required=True, help="dataset, such as dfew")
    features.add_argument("--data-root", type=Path, required=True, help="folder of its release")
    features.add_argument("--fold", type=int, help="which fold, counted from 1")
    confusions = commands.add_parser("confusions", help="confusions of several results beside each other")
    confusions.add_argument("results", type=Path, nargs="+", help="results.json files")
    for command in (attention, levels):
        command.add_argument("--clips", nargs="+", required=True, help="names of clips in the cache")
    for command in (attention, levels, features):
        command.add_argument("--prepared", type=Path, required=True, help="cache of face crops")
    for command, draw in (
        (gain, _gain), (attention, _attention), (levels, _levels), (features, _features), (confusions, _confusions),
    ):  # fmt: skip
        command.add_argument("--output", type=Path, required=True, help="PNG file to write")
        command.set_defaults(draw=draw)
    return parser


def main(arguments: argparse.Namespace) -> int:
    """Draw the figure that the command line asks for."""
    arguments.draw(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(build_parser().parse_args()))
