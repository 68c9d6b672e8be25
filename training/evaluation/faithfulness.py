"""Measure whether explanations show what an answer rests on: take away what they name, and see how much is lost.

`python -m training.evaluation.faithfulness dfer-aen-small --data-root <FER+>`

Deletion blurs the places of every frame that a map marks most, or leaves out the frames that count most; insertion
shows nothing but these. Both are the probability of the answer, averaged over several shares, and an explanation is
good by their difference. It stands beside the difference by the map of another clip, by chance, and by the centre of
the frames or of the clip. Clips are made from every twentieth still of FER+'s validation split.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

import dfer_hf
from dfer_hf.explain import (
    ANSWER,
    SPATIAL_METHODS,
    Contrast,
    ExplainOptions,
    PlaceEvidence,
    answer_without,
    contrast_of,
    encode_and_answer,
    frame_effects,
    grad_cam,
    layer_cam,
    methods_for,
    quarter_runs,
    rank_correlation,
)
from dfer_hf.explain.masks import blurred
from dfer_hf.explain.spatial import refuse_unoffered
from dfer_hf.hub.evaluation import explanation_table
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from training.data.clips_from_stills import StillClips
from training.data.sources import NEUTRAL
from training.data.still_dataset import StillSource
from training.datasets.ferplus import load_ferplus
from training.evaluation.bootstrap import Resamples

EVERY_NTH_STILL = 20
BATCH_SIZE = 8
SHARES = (0.1, 0.25, 0.5)
"""Of the places of a frame, and of the frames of a clip, that are taken away or shown."""
HALF_AGAIN = 1.5
RANDOM_CELLS = 7
LEFT_OUT, OWN_WEIGHTS, RANDOM, CENTRE = "leaving out", "own weights", "random", "centre"
SLOW = "masks"

Explain = Callable[[DferPreTrainedModel, torch.Tensor], PlaceEvidence]


@dataclass(frozen=True, eq=False)
class Score:
    """Probability of what is explained, one value for each clip, `(clips,)`.

    Args:
        insertion: Where only what the explanation names is shown.
        deletion: Where what it names is taken away.
    """

    insertion: torch.Tensor
    deletion: torch.Tensor

    @property
    def gain(self) -> torch.Tensor:
        """Insertion minus deletion, `(clips,)`."""
        return self.insertion - self.deletion


@dataclass(frozen=True, eq=False)
class Row:
    """What was measured of one explanation.

    Args:
        own: By each clip's own explanation.
        other: By that of another clip; None for what knows of no clip.
        agreement: Rank correlation with the explanation of random weights, `(clips,)`; None where nobody looked.
        with_leaving_out: Rank correlation with what is lost by leaving frames out, likewise.
    """

    own: Score
    other: Score | None = None
    agreement: torch.Tensor | None = None
    with_leaving_out: torch.Tensor | None = None


def cover(clips: torch.Tensor, fill: torch.Tensor, maps: torch.Tensor, share: float) -> torch.Tensor:
    """Replace the share of each frame that is marked most.

    Args:
        clips: Pixel values `(clips, num_frames, channels, height, width)`.
        fill: What replaces them, of the same shape.
        maps: What is marked, `(clips, num_frames, h, w)`.
        share: Of the pixels of a frame.
    """
    size = (clips.shape[-2], clips.shape[-1])
    fine = nn.functional.interpolate(maps, size=size, mode="bilinear", antialias=True)  # frames as channels
    count = round(share * size[0] * size[1])
    marked = torch.zeros_like(fine).flatten(2)
    marked.scatter_(2, fine.flatten(2).topk(count, dim=2).indices, 1)
    return torch.where(marked.unflatten(2, size)[:, :, None] > 0, fill, clips)


@torch.inference_mode()
def score_places(
    model: DferPreTrainedModel, clips: torch.Tensor, fill: torch.Tensor, maps: torch.Tensor, contrast: Contrast
) -> Score:
    """Blur what maps mark, and everything else."""

    def mean_probability(shown: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        answers = [model(pixel_values_videos=cover(shown, hidden, maps, share)).logits.numpy() for share in SHARES]
        return torch.from_numpy(np.mean([contrast.probability(logits) for logits in answers], axis=0))

    return Score(mean_probability(fill, clips), mean_probability(clips, fill))


def score_frames(model: DferPreTrainedModel, clips: torch.Tensor, effects: torch.Tensor, contrast: Contrast) -> Score:
    """Leave out the frames that count most, `effects` of `(clips, num_frames)`, and all others.

    Args:
        model: A system in evaluation.
        clips: Pixel values, or what `encode_frames` said of them.
        effects: How much each frame counts, `(clips, num_frames)`.
        contrast: What is explained.
    """
    num_frames = effects.shape[1]
    counts = torch.tensor([max(1, round(share * num_frames)) for share in SHARES])[:, None]
    scores = []
    for index, effect in enumerate(effects):
        place = effect.argsort(descending=True).argsort()
        of_clip = Contrast(contrast.towards[index, None], contrast.against[index, None])
        left_out = torch.cat([place >= counts, place < counts])  # (2 shares, frames)
        logits = answer_without(model, clips[index, None], left_out.numpy())
        scores.append(of_clip.probability(logits)[0].reshape(2, -1).mean(axis=1))
    insertion, deletion = torch.from_numpy(np.stack(scores, axis=1))
    return Score(insertion, deletion)


def find_method(model: DferPreTrainedModel, name: str) -> Explain:
    """Find what draws maps by a name such as `layercam`, or `layercam:trunk.encoder.stages.2` for another layer.

    Raises:
        UnknownMethodError: If the model offers no such method.
        AttributeError: If the model has no such layer.
        ValueError: If a layer is named for a method that looks at none.
    """
    method, _, layer = name.partition(":")
    refuse_unoffered(ExplainOptions(method), model)
    if not layer:
        return lambda model, clips: SPATIAL_METHODS[method].explain(model, clips, ANSWER)
    # Its error says which part of the name does not exist.
    model.get_submodule(layer)
    of_layer = {"layercam": layer_cam, "gradcam": grad_cam}
    if method not in of_layer:
        raise ValueError(f"Expected a layer with {' or '.join(of_layer)} alone, got {name!r}.")
    return partial(of_layer[method], layer=layer)


def quick_methods(model: DferPreTrainedModel) -> list[str]:
    """Name the methods that a model offers, but the slow one."""
    return [name for name in methods_for(model) if name != SLOW]


def clips_for(model: DferPreTrainedModel, stills: StillSource) -> StillClips:
    """Make clips of stills, of as many frames as a model takes, 16 where it takes any number."""
    num_frames = 16 if model.takes_any_length else model.config.num_frames
    return StillClips(stills, neutral_label=NEUTRAL, num_frames=num_frames)


def with_random_weights(model: DferPreTrainedModel, *, seed: int = 0) -> DferPreTrainedModel:
    """Build the same system with random weights; what explains both alike says nothing of the trained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(model)(model.config).eval()


def measure(
    model: DferPreTrainedModel, clips: StillClips, methods: Sequence[str], *, seed: int = 0
) -> tuple[dict[str, Row], dict[str, Row]]:
    """Measure explanations in space, by their methods, and in time.

    Args:
        model: A system in evaluation.
        clips: Two or more.
        methods: Names for `find_method`.
        seed: Of the random weights and the random explanations.
    """
    explain = {name: find_method(model, name) for name in methods}
    random_model, generator = with_random_weights(model, seed=seed), torch.Generator().manual_seed(seed)
    places: dict[str, list[Row]] = defaultdict(list)
    frames: dict[str, list[Row]] = defaultdict(list)
    for indices in tqdm(torch.arange(len(clips)).split(BATCH_SIZE), desc="clips", disable=None):
        # Another clip is another of the batch.
        if len(indices) < 2:
            continue
        pixels = clips.batch(indices, model.config.image_size)["pixel_values_videos"]
        with torch.no_grad():
            output, encoded = encode_and_answer(model, pixels)
        contrast, fill = contrast_of(ANSWER, model, output.logits), torch.from_numpy(blurred(pixels.numpy()))
        in_space = partial(score_places, model, pixels, fill, contrast=contrast)
        for name, method in explain.items():
            maps, by_chance = method(model, pixels).maps, method(random_model, pixels).maps
            row = Row(in_space(maps), in_space(maps.roll(1, dims=0)), _agreement(maps, by_chance))
            places[name].append(row)
        for name, maps in _uninformed_maps(pixels.shape[:2], generator).items():
            places[name].append(Row(in_space(maps)))

        seen = pixels if encoded is None else encoded
        in_time = partial(score_frames, model, seen, contrast=contrast)
        effects = {LEFT_OUT: _effects(model, seen, output.logits, contrast)}
        weights = output.frame_weights
        if weights is not None and weights.std() > 1e-6:
            effects[OWN_WEIGHTS] = weights
        with torch.no_grad():
            random_logits = random_model(pixel_values_videos=pixels).logits
        by_chance = _effects(random_model, pixels, random_logits, contrast)
        for name, effect in effects.items():
            default = name == LEFT_OUT
            agreement = _agreement(effect, by_chance) if default else None
            with_default = None if default else _agreement(effect, effects[LEFT_OUT])
            frames[name].append(Row(in_time(effect), in_time(effect.roll(1, dims=0)), agreement, with_default))
        middle = -(torch.arange(pixels.shape[1]) - (pixels.shape[1] - 1) / 2).abs()
        frames[RANDOM].append(Row(in_time(torch.rand(pixels.shape[:2], generator=generator))))
        frames[CENTRE].append(Row(in_time(middle.expand(len(pixels), -1))))
    return {name: _join(rows) for name, rows in places.items()}, {name: _join(rows) for name, rows in frames.items()}


def _effects(
    model: DferPreTrainedModel, clips: torch.Tensor, logits: torch.Tensor, contrast: Contrast
) -> torch.Tensor:
    """What the answers `logits` lose without each frame, `(clips, num_frames)`."""
    left_out = quarter_runs(clips.shape[1])
    after = contrast.log_odds(answer_without(model, clips, left_out))
    return torch.from_numpy(frame_effects(contrast.log_odds(logits.numpy())[:, None] - after, left_out))


def _uninformed_maps(shape: Sequence[int], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Maps `(clips, num_frames, h, w)` that know of no clip: smooth noise, and the centre of the frame."""
    cells = torch.arange(RANDOM_CELLS) - (RANDOM_CELLS - 1) / 2
    centre = -(cells[:, None].square() + cells.square()).sqrt()
    return {
        RANDOM: torch.rand(*shape, RANDOM_CELLS, RANDOM_CELLS, generator=generator),
        CENTRE: centre.expand(*shape, -1, -1),
    }


def _agreement(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Rank correlation of two explanations of each clip, `(clips,)`."""
    pairs = zip(first.flatten(1).numpy(), second.flatten(1).numpy(), strict=True)
    return torch.tensor([rank_correlation(one, other) for one, other in pairs])


def _join(rows: Sequence[Row]) -> Row:
    """Put batches together."""

    def join_scores(scores: Sequence[Score]) -> Score:
        return Score(torch.cat([s.insertion for s in scores]), torch.cat([s.deletion for s in scores]))

    others = [row.other for row in rows if row.other is not None]
    return Row(
        join_scores([row.own for row in rows]),
        join_scores(others) if others else None,
        _join_known([row.agreement for row in rows]),
        _join_known([row.with_leaving_out for row in rows]),
    )


def _join_known(parts: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known) if known else None


def summarise(rows: dict[str, Row]) -> dict[str, dict[str, Any]]:
    """Turn what was measured into means with 95 % bootstrap intervals over clips.

    `half_again` says whether an explanation beats that of another clip by half again, for sure within the interval.

    Returns:
        Figures by explanation, as `dfer_hf.hub.evaluation.explanation_table` lays them out.
    """
    return {name: _figures(row) for name, row in rows.items()}


def _figures(row: Row) -> dict[str, Any]:
    gain = row.own.gain.double().numpy()
    figures: dict[str, Any] = {
        "insertion": _mean(row.own.insertion),
        "deletion": _mean(row.own.deletion),
        "difference": _mean(row.own.gain),
        "difference_interval": _interval(gain),
    }
    if row.other is not None:
        other = row.other.gain.double().numpy()
        figures |= {"of_another": _mean(row.other.gain), "of_another_interval": _interval(other)}
        figures["half_again"] = _interval(gain - HALF_AGAIN * other)[0] > 0
    agreements = {"random_weights": row.agreement, "leaving_out": row.with_leaving_out}
    return figures | {name: _mean(values) for name, values in agreements.items() if values is not None}


def _mean(values: torch.Tensor) -> float:
    return round(float(values.double().nanmean()), 3)


def _interval(values: np.ndarray) -> list[float]:
    means = Resamples.of(np.zeros(len(values), dtype=int)).mean(values, np.ones(len(values)))
    return [round(float(end), 3) for end in np.percentile(means, [2.5, 97.5])]


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="shipped name or folder")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of FER+")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME[:LAYER]",
        help=f"how maps are drawn (default: all that the system offers but {SLOW}, which is slow)",
    )
    parser.add_argument("--every", type=int, default=EVERY_NTH_STILL, metavar="N", help="take every Nth still")
    arguments = parser.parse_args()
    model = dfer_hf.VideoPredictor.from_pretrained(arguments.checkpoint, device="cpu").model
    faces = load_ferplus(arguments.data_root, "valid")
    stills = StillSource(faces.subset(range(0, len(faces), arguments.every)))
    clips = clips_for(model, stills)
    rows = measure(model, clips, arguments.methods or quick_methods(model))
    tables = [explanation_table(summarise(of), kind=kind) for of, kind in zip(rows, ("places", "frames"), strict=True)]
    sys.stdout.write("\n".join([f"{len(clips)} clips", *("\n" + "\n".join(lines) for lines in tables), ""]))


if __name__ == "__main__":
    main()
