"""Measure a checkpoint: `python -m training.release.evaluate_shipped <checkpoint> --data-root <FER+ folder>`.

Stills are measured with one aligned crop each. Clips are made from every fifth still of the validation split, a given
share of their frames off target; a system is measured on them beside the plain mean of its own frame answers. From the
same clips follows `unsure_margin`: how far the best class has to lead for the answer to count as sure.
Portraits (Face Research Lab London Set) go the whole way a user's file goes, detection included.
"""

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

import dfer_hf
from dfer_hf.checkpoints import find_checkpoint
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification
from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.data.clips_from_stills import StillClips
from training.data.sources import NEUTRAL
from training.data.still_dataset import StillSource, still_logits
from training.datasets.ferplus import load_ferplus
from training.evaluation.metrics import Confusion, Scorecard

NAMES = [str(name) for name in SEVEN_EMOTIONS]
OFF_TARGET_SHARES = (0.0, 0.5)
EVERY_NTH_STILL = 5
PORTRAITS = {"neutral": Emotion.NEUTRAL, "smiling": Emotion.HAPPINESS}


def measure_stills(model: DferPreTrainedModel, stills: StillSource) -> Scorecard:
    """Judge every still alone, by the system's guide where it has one."""
    judge = cast(DferPreTrainedModel, getattr(model, "guide", model))
    logits = still_logits(judge, stills, model.config.image_size)
    return Confusion.of(logits.argmax(axis=1), stills.labels.numpy(), NAMES).to_dict()


@dataclass(frozen=True)
class Leads:
    """How far the best class leads the second in each clip, in calibrated probability, and whether it is right."""

    leads: np.ndarray
    is_right: np.ndarray

    @classmethod
    def join(cls, parts: Sequence["Leads"]) -> "Leads":
        """Put the clips of several measurements together."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("leads", "is_right")))

    def choose_margin(self) -> float:
        """The largest margin, in hundredths, below which fewer than half of the answers are right."""
        margins = np.arange(101) / 100
        is_below = self.leads < margins[:, None]  # (margins, clips)
        chosen = margins[(is_below & self.is_right).sum(axis=1) * 2 < is_below.sum(axis=1)]
        return float(chosen.max(initial=0.0))

    def at_margin(self, margin: float) -> dict[str, float]:
        """The share of unsure answers, and how many of the sure and of the unsure ones are right."""
        is_unsure = self.leads < margin
        return {
            "unsure_margin": margin,
            "unsure_share": float(is_unsure.mean()),
            "accuracy_of_sure": float(self.is_right[~is_unsure].mean()),
            "accuracy_of_unsure": float(self.is_right[is_unsure].mean()) if is_unsure.any() else 0.0,
        }


@torch.inference_mode()
def measure_clips(model: DferPreTrainedModel, clips: StillClips) -> tuple[dict[str, Any], Leads]:
    """Judge every clip by the system, and by the mean of what it says of the frames alone."""
    by_system, by_mean, leads = [], [], []
    on_target, off_target = [], []
    for indices in torch.arange(len(clips)).split(8):
        batch = clips.batch(indices, model.config.image_size)
        output = model(batch["pixel_values_videos"].to(model.device))
        by_system.append(model.decide(output.logits).cpu())
        by_mean.append(output.frame_logits.softmax(dim=-1).mean(dim=1).argmax(dim=-1).cpu())
        probabilities = (output.logits.float() / model.config.temperature).softmax(dim=-1).cpu()
        chosen = by_system[-1][:, None]
        others = probabilities.scatter(1, chosen, 0.0).max(dim=1).values
        leads.append(probabilities.gather(1, chosen)[:, 0] - others)
        wrong = batch["off_target"]
        on_target.append(output.frame_weights.cpu()[~wrong])
        off_target.append(output.frame_weights.cpu()[wrong])
    labels = clips.labels.numpy()
    answers = torch.cat(by_system).numpy()
    weights = {"on_target": torch.cat(on_target).mean().item()}
    if torch.cat(off_target).numel():
        weights["off_target"] = torch.cat(off_target).mean().item()
    cards = {
        "system": Confusion.of(answers, labels, NAMES).to_dict(),
        "mean_of_frames": Confusion.of(torch.cat(by_mean).numpy(), labels, NAMES).to_dict(),
        "frame_weight": weights,
    }
    return cards, Leads(torch.cat(leads).numpy(), answers == labels)


def measure_portraits(predictor: dfer_hf.VideoPredictor, root: Path) -> Scorecard:
    """Judge the smiling and the neutral portrait of every person by the clip's answer.

    Raises:
        FileNotFoundError: If there are no portraits in `root/images`.
    """
    predictions, labels = [], []
    for path in sorted((root / "images").glob("*.jpg")):
        labels.append(SEVEN_EMOTIONS.index(PORTRAITS[path.stem.split("_")[1]]))
        predictions.append(SEVEN_EMOTIONS.index(Emotion(predictor(path).faces[0].fine.label)))
    if not labels:
        raise FileNotFoundError(f"Expected portraits such as 001_smiling.jpg in {root / 'images'}, found none.")
    return Confusion.of(np.array(predictions), np.array(labels), NAMES).to_dict()


def measure(checkpoint: str, data_root: Path, portraits_root: Path | None) -> dict[str, Any]:
    """All figures of a checkpoint, with what is needed to run them again."""
    found = find_checkpoint(checkpoint)
    predictor = dfer_hf.VideoPredictor.from_pretrained(checkpoint)
    model = predictor.model
    faces = load_ferplus(data_root, "valid")
    stills = StillSource(faces)
    name = Path(found).resolve().name
    command = f"python -m training.release.evaluate_shipped {name} --data-root <FER+> --portraits-root <London Set>"
    results = {
        "checkpoint": name,
        "command": command,
        "data": f"FER+ valid split, {len(stills)} faces with one majority label among seven classes",
        "versions": {"dfer_hf": dfer_hf.__version__, "torch": torch.__version__, "python": platform.python_version()},
        "stills": measure_stills(model, stills),
    }
    if portraits_root is not None:
        results["portraits"] = measure_portraits(predictor, portraits_root)
    thinned = StillSource(faces.subset(range(0, len(faces), EVERY_NTH_STILL)))
    measured = {
        f"{share:.0%} of frames off target": measure_clips(
            model, StillClips(thinned, neutral_label=NEUTRAL, off_target_share=share)
        )
        for share in OFF_TARGET_SHARES
    }
    # A recogniser of frames answers a clip by the mean of its frame answers: there is nothing to set beside it.
    if not isinstance(model, FrameResNetForVideoClassification):
        results["clips_from_stills"] = {name: cards for name, (cards, _) in measured.items()}
    leads = Leads.join([leads for _, leads in measured.values()])
    margins = {"chosen": leads.choose_margin(), "as_shipped": model.config.unsure_margin}
    results["unsure"] = {name: leads.at_margin(margin) for name, margin in margins.items()}
    return results


def main() -> None:
    """Read the command line, measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="shipped name, folder or Hub id")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of FER+")
    parser.add_argument("--portraits-root", type=Path, help="folder of the London Set")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    results = measure(arguments.checkpoint, arguments.data_root, arguments.portraits_root)
    text = json.dumps(results, indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
