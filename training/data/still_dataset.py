"""Turn aligned stills into clips of one frame, on which the frame recogniser is trained."""

import numpy as np
import torch

from dfer_hf.faces.video_processing_dfer import DferVideoProcessor
from dfer_hf.models.modeling_dfer import DferPreTrainedModel
from training.data import transforms
from training.data.normalise import normalise
from training.data.protocols import Source
from training.data.samplers import balanced_weights
from training.datasets.ferplus import FerPlus


def to_pixel_values(images: torch.Tensor) -> torch.Tensor:
    """Normalise grey images in [0, 1] of shape `(..., 1, s, s)` to three equal channels, as the processor does."""
    # Grey has one value for all channels.
    normalised = normalise(images, DferVideoProcessor.image_mean[:1], DferVideoProcessor.image_std[:1])
    return normalised.expand(*images.shape[:-3], 3, *images.shape[-2:])


class StillSource:
    """Batches of stills with the crowd's votes as labels.

    Args:
        faces: The split.
        balance: Exponent of the sampling weight: a class with share `p` is drawn in proportion to `p^(1 - balance)`.
    """

    def __init__(self, faces: FerPlus, *, balance: float = 0.0) -> None:
        self.images = torch.from_numpy(faces.images)[:, None]
        self.crop_to_image = transforms.alignment_matrices(faces.points)
        self.votes = torch.from_numpy(faces.votes)
        self.labels = torch.from_numpy(faces.labels)
        self.sampling_weights = balanced_weights(self.labels, balance)

    def __len__(self) -> int:
        return len(self.labels)

    def training_batch(
        self, indices: torch.Tensor, size: int, generator: torch.Generator, *, strength: float = 1.0
    ) -> dict[str, torch.Tensor]:
        """Draw views of the stills at `indices`: `pixel_values_videos` (count, 1, 3, size, size) and `labels`."""
        framing = transforms.random_framing(len(indices), generator, strength=strength)
        images = self.images[indices].float() / 255
        matrices = self.crop_to_image[indices] @ framing
        fills = transforms.random_fills(len(indices), generator)
        views = transforms.warp_filled(images, matrices, size, fills)
        views = transforms.random_light(views, generator, strength=0.8 * strength)
        views = transforms.random_surround(views, generator, chance=0.2 * strength)
        views = transforms.random_sharpness(views, generator, strength=strength)
        views = transforms.random_cover(views, generator, chance=0.3 * strength)
        return {"pixel_values_videos": to_pixel_values(views)[:, None], "labels": self.votes[indices]}

    def batch(self, indices: torch.Tensor, size: int) -> dict[str, torch.Tensor]:
        """Return the stills at `indices` as inference sees them, with their majority label."""
        images = self.images[indices].float() / 255
        views = transforms.warp(images, self.crop_to_image[indices], size)
        return {"pixel_values_videos": to_pixel_values(views)[:, None], "labels": self.labels[indices]}


@torch.inference_mode()
def still_logits(system: DferPreTrainedModel, stills: Source, size: int) -> np.ndarray:
    """Compute a model's logits for every still alone, one aligned crop of `size` pixels each, `(count, num_labels)`.

    A model whose clips have a fixed length sees the still in all frames.
    """
    logits = []
    num_frames = 1 if system.takes_any_length else system.config.num_frames
    for indices in torch.arange(len(stills)).split(64):
        frames = stills.batch(indices, size)["pixel_values_videos"].expand(-1, num_frames, -1, -1, -1)
        frame_logits = system(frames.to(system.device)).frame_logits
        logits.append(frame_logits[:, 0].cpu().numpy())
    return np.concatenate(logits)
