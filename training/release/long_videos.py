"""Compare ways to answer a long video: `python -m training.release.long_videos <checkpoint> --data-root <FER+>`.

A system that takes 16 frames answers a long video window by window, and something has to join the windows' answers.
Here a long video has three windows, made of three stills of the FER+ validation split that carry one label, each with
up to 60 % of its frames off target. They are three people's faces, as the data knows no person twice.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from dfer_hf.checkpoints import load_checkpoint
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from training.data.clips_from_stills import StillClips
from training.data.sources import NEUTRAL
from training.data.still_dataset import StillSource
from training.datasets.ferplus import load_ferplus
from training.evaluation.metrics import percent
from training.release.systems import NAMES

EVERY_NTH_STILL, WINDOWS_PER_VIDEO = 5, 3


def mean_probabilities(windows: np.ndarray) -> np.ndarray:
    """The product's way: the mean over the windows, `(videos, windows, labels)` to `(videos, labels)`."""
    return windows.mean(axis=1)


def mean_logits(windows: np.ndarray) -> np.ndarray:
    """The geometric mean, which a single sure window can veto."""
    return np.log(windows).mean(axis=1)


def surest_window(windows: np.ndarray) -> np.ndarray:
    """The answer of the window whose best class is the most probable."""
    return np.take_along_axis(windows, windows.max(axis=2).argmax(axis=1)[:, None, None], axis=1)[:, 0]


def majority(windows: np.ndarray) -> np.ndarray:
    """The class that most windows answer; the mean decides between equals."""
    votes = np.eye(windows.shape[2])[windows.argmax(axis=2)].sum(axis=1)
    return votes + windows.mean(axis=1)


WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "mean of probabilities": mean_probabilities,
    "mean of logits": mean_logits,
    "surest window": surest_window,
    "majority of windows": majority,
}


def put_together(labels: np.ndarray) -> np.ndarray:
    """Draw which clips make a video, `(videos, windows)`: each clip once, all of a video with one label."""
    generator = np.random.default_rng(0)
    videos = []
    for label in np.unique(labels):
        clips = generator.permutation(np.flatnonzero(labels == label))
        videos.append(clips[: len(clips) // WINDOWS_PER_VIDEO * WINDOWS_PER_VIDEO].reshape(-1, WINDOWS_PER_VIDEO))
    return np.concatenate(videos)


@torch.inference_mode()
def answer(model: DferPreTrainedModel, clips: StillClips, videos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of each window `(videos, windows, labels)`, and of one clip spread over each video."""
    by_window, by_spread_clip = [], []
    for video in torch.from_numpy(videos):
        windows = clips.batch(video, model.config.image_size)["pixel_values_videos"]
        # As many frames as one window has, evenly over all of them.
        spread = windows.flatten(0, 1)[WINDOWS_PER_VIDEO // 2 :: WINDOWS_PER_VIDEO]
        logits = model(torch.cat((windows, spread[None])).to(model.device)).logits
        probabilities = logits.double().softmax(dim=-1).cpu().numpy()
        by_window.append(probabilities[:-1])
        by_spread_clip.append(probabilities[-1])
    return np.stack(by_window), np.stack(by_spread_clip)


def summarise(scores: dict[str, np.ndarray], labels: np.ndarray) -> dict[str, dict[str, object]]:
    """Accuracy of each way, and how far it is above the mean of probabilities with its 95 % interval, in per cent."""
    is_right = {name: values.argmax(axis=1) == labels for name, values in scores.items()}
    ours = is_right["mean of probabilities"].astype(float)
    # Videos are drawn with replacement, the same ones for all ways.
    drawn = np.random.default_rng(0).integers(len(labels), size=(10_000, len(labels)))
    summary = {}
    for name, right in is_right.items():
        above = np.percentile((right - ours)[drawn].mean(axis=1), [2.5, 97.5])
        summary[name] = {
            "accuracy": percent(right.mean()),
            "above_mean_of_probabilities": percent((right - ours).mean()),
            "interval": [percent(end) for end in above],
        }
    return summary


def compare(checkpoint: str, data_root: Path) -> dict[str, object]:
    """What each way makes of the same videos."""
    model = load_checkpoint(checkpoint).model.eval()
    faces = load_ferplus(data_root, "valid")
    stills = StillSource(faces.subset(range(0, len(faces), EVERY_NTH_STILL)))
    clips = StillClips(stills, neutral_label=NEUTRAL)
    videos = put_together(clips.labels.numpy())
    by_window, by_spread_clip = answer(model, clips, videos)
    labels = clips.labels.numpy()[videos[:, 0]]
    scores = {name: way(by_window) for name, way in WAYS.items()} | {"one clip over the whole": by_spread_clip}
    return {"checkpoint": checkpoint, "videos": len(videos), "classes": NAMES, "ways": summarise(scores, labels)}


def main() -> None:
    """Read the command line, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="shipped name or folder")
    parser.add_argument("--data-root", type=Path, required=True, help="folder of FER+")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    text = json.dumps(compare(arguments.checkpoint, arguments.data_root), indent=2) + "\n"
    sys.stdout.write(text)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
