"""The frame recogniser: AEN's 2D FER model, and, averaged over the clip, the plainest baseline for video."""

from typing import Protocol

import torch
from torch import nn
from torch.nn import functional
from transformers import ResNetBackbone, ResNetConfig
from transformers.utils.generic import can_return_tuple

from .configuration_frame_resnet import FrameResNetConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel, cross_entropy


class ResNetSizes(Protocol):
    """What a configuration says of its ResNet: channels of a frame and of the stages, and blocks of each."""

    num_channels: int
    hidden_sizes: list[int]
    depths: list[int]


def build_trunk(config: ResNetSizes, out_features: list[str]) -> ResNetBackbone:
    """Build transformers' own ResNet of basic blocks, without weights, that returns the stages named."""
    trunk = ResNetBackbone(
        ResNetConfig(
            num_channels=config.num_channels,
            embedding_size=config.hidden_sizes[0],
            hidden_sizes=list(config.hidden_sizes),
            depths=list(config.depths),
            layer_type="basic",
            out_features=out_features,  # pyright: ignore[reportCallIssue]  a field of the backbone mixin
        )
    )
    # It has no attention, but else refuses `set_attn_implementation` for the whole model.
    trunk._supports_sdpa = True
    return trunk


class FrameResNetForVideoClassification(DferPreTrainedModel):
    """A ResNet over each frame; the clip's probabilities are the mean of its frames'."""

    config: FrameResNetConfig
    config_class = FrameResNetConfig
    takes_any_length = True
    sees_frames_apart = True
    evidence_layer = "trunk.encoder.stages.1"
    last_map_layer = "trunk.encoder.stages.3"
    map_method = "gradcam"
    supports_gradient_checkpointing = False  # transformers' ResNet has none
    # As part of a system with attention; see `build_trunk`.
    _supports_sdpa = True

    def __init__(self, config: FrameResNetConfig) -> None:
        super().__init__(config)
        self.trunk = build_trunk(config, ["stage4"])
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_sizes[-1], len(config.label_names))
        if config.blendshape_names:
            self.blendshape_head = nn.Linear(config.hidden_sizes[-1], len(config.blendshape_names))
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values_videos: torch.Tensor,
        labels: torch.Tensor | None = None,
        blendshapes: torch.Tensor | None = None,
        **kwargs,
    ) -> DferOutput:
        """Classify clips of any number of frames.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`, such as crowd votes.
            blendshapes: How far each of `blendshape_names` went, from 0 to 1, `(batch, num_blendshapes)`; NaN where it
                is not known.

        Returns:
            The loss is the mean cross entropy of the frames against the clip's label, and that of the blendshapes
            where they are given. `frame_weights` are equal because the mean treats the frames so.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_records(kwargs)
        self.check_pixel_values(pixel_values_videos)
        encoded = self.encode_frames(pixel_values_videos)
        output = self.answer_encoded(encoded, labels=labels)
        if output.loss is not None and output.loss_parts is not None and blendshapes is not None:
            known = ~blendshapes.isnan()
            movements = encoded[..., len(self.config.label_names) :].float()  # (batch, frames, movements)
            target = blendshapes.nan_to_num()[:, None].expand_as(movements)
            each = functional.binary_cross_entropy_with_logits(movements, target.float(), reduction="none").mean(dim=1)
            loss = (each * known).sum() / known.sum().clamp_min(1)
            output.loss = output.loss + self.config.blendshape_weight * loss
            output.loss_parts["blendshapes"] = loss.detach()
        return output

    def pool_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Features of each frame of clips, averaged over its places, `(batch, num_frames, channels)`."""
        features = self.trunk(pixel_values_videos.flatten(0, 1)).feature_maps[0]  # (batch·frames, C, h, w)
        return features.mean(dim=(2, 3)).unflatten(0, pixel_values_videos.shape[:2])

    def encode_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Classify each frame of clips of any size, without checks; see the base class.

        Returns:
            Logits of the classes and then of the movements, where it learnt them, `(batch, num_frames, logits)`.
        """
        features = self.pool_frames(pixel_values_videos)
        frame_logits = self.classifier(self.dropout(features))
        if not self.config.blendshape_names:
            return frame_logits
        return torch.cat([frame_logits, self.blendshape_head(features)], dim=-1)

    def answer_encoded(self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Take the mean over the probabilities of the frames' logits, `(batch, num_frames, logits)`."""
        batch_size, num_frames = encoded.shape[:2]
        num_labels = len(self.config.label_names)
        frame_logits = encoded[..., :num_labels]
        frame_probabilities = frame_logits.float().softmax(dim=-1)
        probabilities = frame_probabilities.mean(dim=1)  # (batch, labels)
        coarse_probabilities = self.sum_groups(probabilities)  # (batch, groups)
        tiny = torch.finfo(torch.float32).tiny

        loss = None
        if labels is not None:
            target = self.label_distribution(labels, batch_size)[:, None]  # (batch, 1, labels)
            loss = cross_entropy(frame_logits.float(), target)
        return DferOutput(
            loss=loss,
            logits=probabilities.clamp_min(tiny).log(),
            coarse_logits=coarse_probabilities.clamp_min(tiny).log(),
            frame_logits=frame_logits,
            frame_weights=torch.full_like(frame_probabilities[..., 0], 1 / num_frames),
            frame_movements=encoded[..., num_labels:].float().sigmoid() if self.config.blendshape_names else None,
            loss_parts=None if loss is None else {"cross_entropy": loss.detach()},
        )
