"""The frame recogniser: AEN's 2D FER model, and, averaged over the clip, the plainest baseline for video."""

import torch
from torch import nn
from transformers import ResNetBackbone, ResNetConfig
from transformers.utils.generic import can_return_tuple

from .configuration_frame_resnet import FrameResNetConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel, label_distribution


def build_trunk(config: FrameResNetConfig, out_features: list[str]) -> ResNetBackbone:
    """Build transformers' own ResNet of basic blocks, without weights, that returns the stages named."""
    return ResNetBackbone(
        ResNetConfig(
            num_channels=config.num_channels,
            embedding_size=config.hidden_sizes[0],
            hidden_sizes=list(config.hidden_sizes),
            depths=list(config.depths),
            layer_type="basic",
            out_features=out_features,
        )
    )


class FrameResNetForVideoClassification(DferPreTrainedModel):
    """A ResNet over each frame; the clip's probabilities are the mean of its frames'."""

    config: FrameResNetConfig
    config_class = FrameResNetConfig
    evidence_layer = "trunk.encoder.stages.3"

    def __init__(self, config: FrameResNetConfig) -> None:
        super().__init__(config)
        self.trunk = build_trunk(config, ["stage4"])
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_sizes[-1], config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs
    ) -> DferOutput:
        """Classify clips of any number of frames.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`, such as crowd votes.

        Returns:
            The loss is the mean cross entropy of the frames against the clip's label. `frame_weights` are equal
            because the mean treats the frames so.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_pixel_values(pixel_values_videos, any_length=True)
        batch_size, num_frames = pixel_values_videos.shape[:2]
        features = self.trunk(pixel_values_videos.flatten(0, 1)).feature_maps[0]  # (batch·frames, C, h, w)
        features = features.mean(dim=(2, 3)).unflatten(0, (batch_size, num_frames))  # (batch, frames, C)
        frame_logits = self.classifier(self.dropout(features))  # (batch, frames, labels)

        frame_probabilities = frame_logits.float().softmax(dim=-1)
        probabilities = frame_probabilities.mean(dim=1)  # (batch, labels)
        coarse_probabilities = probabilities @ self.group_matrix().T  # (batch, groups)
        tiny = torch.finfo(torch.float32).tiny

        loss = None
        if labels is not None:
            self.check_labels(labels, batch_size)
            target = label_distribution(labels, self.config.num_labels)[:, None]  # (batch, 1, labels)
            loss = -(target * frame_logits.float().log_softmax(dim=-1)).sum(dim=-1).mean()
        return DferOutput(
            loss=loss,
            logits=probabilities.clamp_min(tiny).log(),
            coarse_logits=coarse_probabilities.clamp_min(tiny).log(),
            frame_logits=frame_logits,
            frame_weights=torch.full_like(frame_probabilities[..., 0], 1 / num_frames),
            loss_parts=None if loss is None else {"cross_entropy": loss.detach()},
        )
