"""R3D-18 (Tran et al. 2018): the trunk of M3DFEL, and with a classifier the baseline of DFEW."""

import torch
from torch import nn
from torchvision.models.video.resnet import BasicBlock, Conv3DSimple
from transformers.utils.generic import can_return_tuple

from .configuration_r3d import R3dConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel


class FrameMaps(nn.Module):
    """Give each frame the map of the step in time it belongs to; without weights, a place to look at the evidence."""

    def forward(self, maps: torch.Tensor, step_of_frame: torch.Tensor) -> torch.Tensor:
        """Spread maps `(clips, C, num_steps, h, w)` over frames `(num_frames,)`: `(clips·num_frames, C, h, w)`."""
        return maps.index_select(2, step_of_frame).transpose(1, 2).flatten(0, 1)


class R3dTrunk(nn.Module):
    """R3D-18 up to its average over space; the names of its weights are torchvision's."""

    def __init__(self, config: R3dConfig) -> None:
        super().__init__()
        sizes = config.hidden_sizes
        self.stem = nn.Sequential(
            nn.Conv3d(config.num_channels, sizes[0], (3, 7, 7), stride=(1, 2, 2), padding=(1, 3, 3), bias=False),
            nn.BatchNorm3d(sizes[0]),
            nn.ReLU(inplace=True),
        )
        strides = [(step, 1 if stage == 0 else 2) for stage, step in enumerate(config.temporal_strides)]
        self.layer1 = self.build_stage(sizes[0], sizes[0], config.depths[0], *strides[0])
        self.layer2 = self.build_stage(sizes[0], sizes[1], config.depths[1], *strides[1])
        self.layer3 = self.build_stage(sizes[1], sizes[2], config.depths[2], *strides[2])
        self.layer4 = self.build_stage(sizes[2], sizes[3], config.depths[3], *strides[3])
        self.frame_maps = FrameMaps()

    @staticmethod
    def build_stage(
        in_channels: int, out_channels: int, depth: int, temporal_stride: int, spatial_stride: int
    ) -> nn.Sequential:
        """Chain blocks of two 3×3×3 convolutions, the first of which takes the strides."""
        stride = (temporal_stride, spatial_stride, spatial_stride)
        shortcut = None
        if stride != (1, 1, 1) or in_channels != out_channels:
            shortcut = nn.Sequential(
                nn.Conv3d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm3d(out_channels),
            )
        # torchvision says `stride: int`, and hands it on to a convolution that takes one for each dimension.
        first = BasicBlock(in_channels, out_channels, Conv3DSimple, stride, shortcut)  # pyright: ignore[reportArgumentType]
        rest = [BasicBlock(out_channels, out_channels, Conv3DSimple) for _ in range(1, depth)]
        return nn.Sequential(first, *rest)

    def forward(self, clips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Describe the frames of clips `(clips, channels, num_frames, height, width)`.

        Returns:
            One vector for each frame, `(clips, num_frames, C)`, never negative and the same for frames of one step in
            time; and the share of each frame, `(num_frames,)`, with which their sum is the mean over the steps, R3D's
            own average.
        """
        maps = self.layer4(self.layer3(self.layer2(self.layer1(self.stem(clips)))))  # (clips, C, steps, h, w)
        num_frames, num_steps = clips.shape[2], maps.shape[2]
        step_of_frame = torch.arange(num_frames, device=maps.device) * num_steps // num_frames
        # (frames,), of each frame's step.
        frames_of_step = (step_of_frame[:, None] == step_of_frame).sum(dim=0)
        frame_maps = self.frame_maps(maps, step_of_frame)  # (clips·frames, C, h, w)
        features = frame_maps.mean(dim=(2, 3)).unflatten(0, (clips.shape[0], num_frames))
        return features, 1 / (num_steps * frames_of_step)


class R3dForVideoClassification(DferPreTrainedModel):
    """R3D-18 over the whole clip, averaged over time and space, and one linear classifier."""

    config: R3dConfig
    config_class = R3dConfig
    evidence_layer = "trunk.frame_maps"
    # A second pass would count twice in the batch norms' statistics.
    supports_gradient_checkpointing = False

    def __init__(self, config: R3dConfig) -> None:
        super().__init__(config)
        self.trunk = R3dTrunk(config)
        self.classifier = nn.Linear(config.hidden_sizes[-1], len(config.label_names))
        self.post_init()

    @can_return_tuple
    def forward(self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Classify clips.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`.

        Returns:
            The loss is cross entropy. `frame_logits` are the classifier's answers to each step in time of the last
            map, spread over its frames; averaged over the steps they are `logits`. `frame_weights` are the part of
            each frame in all that reaches the classifier: its activation, never negative, over the clip's.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_records(kwargs)
        self.check_pixel_values(pixel_values_videos)
        features, shares = self.trunk(pixel_values_videos.transpose(1, 2))  # (batch, frames, C), (frames,)
        shared_features = shares[:, None] * features
        logits = self.classifier(shared_features.sum(dim=1).to(features.dtype)).float()  # (batch, labels)

        tiny = torch.finfo(torch.float32).tiny
        activation = shared_features.float().sum(dim=-1).clamp_min(tiny)  # (batch, frames)

        loss = self.label_loss(logits, labels)
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=self.log_groups(logits),
            frame_logits=self.classifier(features),
            frame_weights=activation / activation.sum(dim=-1, keepdim=True),
            loss_parts=None if loss is None else {"cross_entropy": loss.detach()},
        )
