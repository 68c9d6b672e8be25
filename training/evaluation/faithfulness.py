"""Measure whether heat maps show what an answer rests on: cover what they mark, and see how much is lost.

`python -m training.evaluation.faithfulness dfer-keypoint-gcn-small --data-root <FER+> --layers triplet_attention
trunk.encoder.stages.1`

For each layer that LayerCAM can show, the table says how much of the probability of a clip's answer is lost when the
fifth of each frame that the map marks most is covered by the frame's mean. For comparison, the fifth that another
clip's map marks is covered, which has the same size, shape and place. Clips are made from every twentieth still of
FER+'s validation split.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn

import dfer_hf
from dfer_hf.explain import layer_cam
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from training.data.clips_from_stills import StillClips
from training.data.sources import NEUTRAL
from training.data.still_dataset import StillSource
from training.datasets.ferplus import load_ferplus

EVERY_NTH_STILL = 20
COVERED_SHARE = 0.2
BATCH_SIZE = 8


@dataclass(frozen=True, eq=False)
class Loss:
    """How much of the probability of an answer is lost, one value for each clip, `(clips,)`.

    Args:
        marked: By covering what the clip's own map marks.
        elsewhere: By covering what the map of another clip marks.
    """

    marked: torch.Tensor
    elsewhere: torch.Tensor


def cover(clips: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Cover the fifth of each frame that is marked most by the frame's mean.

    Args:
        clips: Pixel values `(clips, num_frames, channels, height, width)`.
        maps: What is marked, `(clips, num_frames, h, w)`.
    """
    size = (clips.shape[-2], clips.shape[-1])
    fine = nn.functional.interpolate(maps, size=size, mode="bilinear", antialias=True)  # frames as channels
    count = round(COVERED_SHARE * size[0] * size[1])
    marked = torch.zeros_like(fine).flatten(2)
    marked.scatter_(2, fine.flatten(2).topk(count, dim=2).indices, 1)
    mean = clips.mean(dim=(-2, -1), keepdim=True)
    return torch.where(marked.unflatten(2, size)[:, :, None] > 0, mean, clips)


def losses_of(model: DferPreTrainedModel, clips: torch.Tensor, layer: str) -> Loss:
    """Cover a batch of at least two clips by what LayerCAM shows of a layer."""
    maps, output = layer_cam(model, clips, layer=layer)
    before, answers = cast(torch.Tensor, output.logits).softmax(dim=-1).max(dim=-1)

    def lost(maps: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            after = model(pixel_values_videos=cover(clips, maps)).logits.softmax(dim=-1)
        return before.detach() - after.gather(1, answers[:, None])[:, 0]

    return Loss(lost(maps), lost(maps.roll(1, dims=0)))


def measure(model: DferPreTrainedModel, clips: StillClips, layers: list[str]) -> dict[str, Loss]:
    """Measure the losses of each layer.

    Raises:
        AttributeError: If the model has no such layer.
    """
    for layer in layers:
        # Its error says which part of the name does not exist.
        model.get_submodule(layer)
    parts: dict[str, list[Loss]] = {layer: [] for layer in layers}
    for indices in torch.arange(len(clips)).split(BATCH_SIZE):
        if len(indices) > 1:
            pixel_values = clips.batch(indices, model.config.image_size)["pixel_values_videos"]
            for layer in layers:
                parts[layer].append(losses_of(model, pixel_values, layer))
    return {
        layer: Loss(torch.cat([part.marked for part in of_layer]), torch.cat([part.elsewhere for part in of_layer]))
        for layer, of_layer in parts.items()
    }


def table(losses: dict[str, Loss]) -> str:
    """Lay out the means with 95 % intervals over clips, in Markdown."""
    lines = ["| layer | what it marks | what another clip's map marks |", "|---|---|---|"]
    for layer, loss in losses.items():
        cells = []
        for lost in (loss.marked, loss.elsewhere):
            half = 1.96 * lost.std().item() * len(lost) ** -0.5
            cells.append(f"{lost.mean():.3f} ± {half:.3f}")
        lines.append(f"| {layer} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the command line, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="shipped name or folder")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of FER+")
    parser.add_argument("--layers", nargs="+", help="names of parts of the model (default: its evidence_layer)")
    arguments = parser.parse_args()
    model = dfer_hf.VideoPredictor.from_pretrained(arguments.checkpoint, device="cpu").model
    faces = load_ferplus(arguments.data_root, "valid")
    stills = StillSource(faces.subset(range(0, len(faces), EVERY_NTH_STILL)))
    clips = StillClips(stills, neutral_label=NEUTRAL, off_target_share=0.0)
    layers = arguments.layers or [cast(str, model.evidence_layer)]
    sys.stdout.write(f"{len(clips)} clips\n" + table(measure(model, clips, layers)))


if __name__ == "__main__":
    main()
