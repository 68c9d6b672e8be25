"""CFC-SP: coarse-to-fine cascaded networks with smooth predicting (Xue et al., CVPRW 2022)."""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from .configuration_cfc_sp import CfcSpConfig
from .modeling_cfc_sp_nets import BUILDERS, FrameNet, SwinTrunk
from .modeling_dfer import DferOutput, DferPreTrainedModel, uniform_as_torch
from .modeling_iresnet import IResNet
from .modeling_repvgg import RepVggBlock


def log_mean(log_probabilities: torch.Tensor, dim: int) -> torch.Tensor:
    """Logarithm of the mean of probabilities over a dimension."""
    # Counted as a tensor, since an exported graph may have any number of frames.
    return log_probabilities.logsumexp(dim=dim) - torch.ones_like(log_probabilities).sum(dim=dim).log()


class CfcSpForVideoClassification(DferPreTrainedModel):
    """The cascade of frame nets.

    An ensemble predicts the group of each frame; a further net, or an ensemble, predicts the class inside a group of
    several it is. Every net's logits are smoothed over the neighbouring frames first. Clips may have any number of
    frames; without gradients, memory holds the maps of `frames_per_pass` frames.
    """

    config: CfcSpConfig
    config_class = CfcSpConfig
    takes_any_length = True
    sees_frames_apart = True
    reads_every_frame = True
    evidence_layer = "coarse_nets.0.trunk"
    map_method = "gradcam"
    supports_gradient_checkpointing = False  # timm's HRNet has none

    def __init__(self, config: CfcSpConfig) -> None:
        super().__init__(config)
        labels = config.label_names
        members = [[label for label in labels if label in group] for group in config.groups.values()]
        # Indices of the labels of each group of several: what the fine nets answer, in this order.
        self.split_labels = [[labels.index(label) for label in group] for group in members if len(group) > 1]
        num_fine = sum(len(group) for group in self.split_labels)
        fine_nets = config.fine_nets if num_fine else []
        self.coarse_nets = nn.ModuleList(BUILDERS[name](config, len(members)) for name in config.coarse_nets)
        self.fine_nets = nn.ModuleList(BUILDERS[name](config, num_fine) for name in fine_nets)
        # A layer's first weights depend on the net it belongs to; `_init_weights` sees the layer alone.
        self.part_of_layer: dict[nn.Module, type[nn.Module]] = {
            layer: type(part)
            for part in self.modules()
            if isinstance(part, SwinTrunk | IResNet)
            for layer in part.modules()
        }
        for net in [*self.coarse_nets, *self.fine_nets]:
            classifier = cast(nn.Sequential, net.head)[-1]
            self.part_of_layer[classifier] = FrameNet
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.PReLU):
            init.constant_(module.weight, 0.25)
        elif hasattr(module, "relative_position_bias_table"):  # Swin's attention
            from timm.models.swin_transformer import get_relative_position_index

            attention: Any = module
            init.trunc_normal_(attention.relative_position_bias_table, std=0.02)
            init.copy_(attention.relative_position_index, get_relative_position_index(*attention.window_size))
        else:
            self._init_as_published(module)

    def _init_as_published(self, layer: nn.Module) -> None:
        """Draw the layers that the first author's code does not draw as the other authors' do."""
        part = self.part_of_layer.get(layer)
        if part is FrameNet and isinstance(layer, nn.Linear):
            init.normal_(layer.weight, std=0.01)
            init.zeros_(layer.bias)
        elif part is IResNet and isinstance(layer, nn.Conv2d):
            init.xavier_uniform_(layer.weight)
        elif part is SwinTrunk and isinstance(layer, nn.Conv2d):
            uniform_as_torch(layer)
        elif part is SwinTrunk and isinstance(layer, nn.Linear):
            init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                init.zeros_(layer.bias)

    @can_return_tuple
    def forward(self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Classify clips of any number of frames.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`; every frame of a clip is trained
                to show its clip's label, and clips of one frame train as the paper does.

        Returns:
            `frame_logits` are the log-probabilities of each smoothed frame, its group's times its share of the group;
            `logits` and `coarse_logits` the logarithms of their means over the clip. `frame_weights` are each frame's
            share in the smoothed logits of all frames. `decide` makes the paper's hard choice of either logits.
            `loss_parts` are `coarse` and `fine`, the cross entropies of the groups, and of the classes inside theirs
            over the frames of such, each the sum over its nets; and, not part of the loss, `cross_entropy` of
            `logits`.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_records(kwargs)
        self.check_pixel_values(pixel_values_videos)
        return self.answer_encoded(self.encode_frames(pixel_values_videos), labels=labels)

    def encode_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Logits of each net for each frame, side by side, `(batch, num_frames, logits)`; see the base class."""
        logits = [self.classify_frames(nets, pixel_values_videos) for nets in (self.coarse_nets, self.fine_nets)]
        return torch.cat([of_nets.permute(1, 2, 0, 3).flatten(2) for of_nets in logits], dim=-1)

    def answer_encoded(
        self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None,
        frames_per_second: float | None = None,
    ) -> DferOutput:  # fmt: skip
        """Smooth and join the nets' logits; see the base class.

        The window is as long in seconds as `smoothing_window` frames are at the corpus' rate, where the clip's rate is
        given, and that many frames where it is not.
        """
        batch_size, num_frames = encoded.shape[:2]
        window = self.config.smoothing_window
        if frames_per_second is not None:
            window = window * frames_per_second / self.config.corpus_frames_per_second
            window = window.round().long() if isinstance(window, torch.Tensor) else round(window)
        num_coarse = len(self.coarse_nets) * len(self.config.groups)
        coarse_logits, fine_logits = encoded.split([num_coarse, encoded.shape[2] - num_coarse], dim=2)
        # Both (nets, batch, frames, classes).
        coarse_logits = torch.stack(coarse_logits.chunk(len(self.coarse_nets), dim=2))
        fine_logits = torch.stack(fine_logits.chunk(len(self.fine_nets) or 1, dim=2))
        # Soft votes: the mean of the nets' probabilities, (batch, frames, groups) and (batch, frames, labels).
        log_groups = log_mean(self.smooth(coarse_logits, window).log_softmax(dim=-1), dim=0)
        log_shares = log_mean(self.log_shares(self.smooth(fine_logits, window)), dim=0)
        frame_logits = log_groups[..., self.config.group_of_label] + log_shares
        logits = log_mean(frame_logits, dim=1)  # (batch, labels)

        loss, loss_parts = None, None
        if labels is not None:
            target = self.label_distribution(labels, batch_size)
            loss_parts = {
                "coarse": self.coarse_loss(coarse_logits, target),
                "fine": self.fine_loss(fine_logits, target),
                "cross_entropy": -(target * logits).sum(dim=-1).mean(),
            }
            loss = loss_parts["coarse"] + loss_parts["fine"]
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=log_mean(log_groups, dim=1),
            frame_logits=frame_logits,
            frame_weights=self.frame_weights(num_frames, window).expand(batch_size, -1),
            loss_parts=loss_parts,
        )

    def classify_frames(self, nets: Iterable[nn.Module], pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Classify each frame by itself with each net, `(nets, batch, num_frames, classes)`, without smoothing.

        No net, as where no group has several classes, answers as one net without classes.
        """
        frames = pixel_values_videos.flatten(0, 1)
        # Gradients keep all maps anyway, and in training the norms see all frames together.
        passes = [frames]
        if not (self.training or torch.is_grad_enabled() or torch.compiler.is_compiling()):
            passes = frames.split(self.config.frames_per_pass)
        answers = [torch.cat([net(part) for part in passes]).float() for net in nets]
        answers = answers or [frames.new_zeros(frames.shape[0], 0, dtype=torch.float32)]
        return torch.stack(answers).unflatten(1, pixel_values_videos.shape[:2])

    def smooth(self, logits: torch.Tensor, window: int | torch.Tensor) -> torch.Tensor:
        """Add to each frame of `(nets, batch, num_frames, classes)` the mean of the `window` around it (Eq. 1).

        In an exported graph the window is a scalar tensor, so that one graph serves clips of any rate.
        """
        if logits.shape[-1] == 0 or (isinstance(window, int) and window == 0):
            return logits
        series = logits.flatten(0, 1).transpose(1, 2)  # (nets·batch, classes, frames)
        smoothed = logits + self.window_mean(series, window).transpose(1, 2).view_as(logits)
        return smoothed if isinstance(window, int) else torch.where(window == 0, logits, smoothed)

    def window_mean(self, series: torch.Tensor, window: int | torch.Tensor) -> torch.Tensor:
        """Mean of the frames around each frame that the clip has, of `(n, channels, num_frames)`."""
        if isinstance(window, torch.Tensor):
            # No pooling of a graph takes its width from a tensor. Sums of a long video need double precision.
            place, last_place = torch.arange(series.shape[-1], device=series.device), series.shape[-1] - 1
            first, last = (place - window // 2).clamp_min(0), (place + window // 2).clamp_max(last_place)
            sums = nn.functional.pad(series.double().cumsum(dim=-1), (1, 0))
            return ((sums[..., last + 1] - sums[..., first]) / (last + 1 - first)).to(series.dtype)
        reach = min(window // 2, series.shape[-1] - 1)
        return nn.functional.avg_pool1d(series, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)

    def frame_weights(self, num_frames: int, window: int | torch.Tensor) -> torch.Tensor:
        """Share `(num_frames,)` of each frame in the smoothed logits of all: half its own, half its neighbours'.

        Frames in the middle of a clip stand in more windows than frames at its ends, whose windows are cut short.
        """
        place = torch.arange(num_frames, device=self.device)
        reach = window // 2
        lengths = (place + reach).clamp_max(num_frames - 1) - (place - reach).clamp_min(0) + 1.0
        borrowed = self.window_mean(1 / lengths[None, None], window)[0, 0] * lengths  # sums to `num_frames`
        return (1 + borrowed) / (2 * num_frames)

    def log_shares(self, fine_logits: torch.Tensor) -> torch.Tensor:
        """Turn `(..., fine)` into the log-probability of every label inside its group, `(..., num_labels)`.

        A label that is its own group has it for sure.
        """
        shares = fine_logits.new_zeros(*fine_logits.shape[:-1], len(self.config.label_names))
        parts = fine_logits.split([len(group) for group in self.split_labels], dim=-1)
        for group, part in zip(self.split_labels, parts, strict=False):
            shares[..., group] = part.log_softmax(dim=-1)
        return shares

    def coarse_loss(self, coarse_logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross entropy of the groups: mean over the frames, sum over the nets."""
        group_target = self.sum_groups(target)[:, None]  # (batch, 1, groups)
        entropies = -(group_target * coarse_logits.log_softmax(dim=-1)).sum(dim=-1)  # (nets, batch, frames)
        return entropies.mean(dim=(1, 2)).sum()

    def fine_loss(self, fine_logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross entropy inside the groups of several: mean over the frames that show one, sum over the nets."""
        shared = [label for group in self.split_labels for label in group]
        num_shared = target[:, shared].sum()
        entropies = -(target[:, None] * self.log_shares(fine_logits)).sum(dim=-1)  # (nets, batch, frames)
        total = entropies.mean(dim=2).sum()
        # Nothing over nothing: no loss.
        return total / num_shared.clamp_min(torch.finfo(torch.float32).tiny)

    def fuse(self) -> None:
        """Turn every RepVGG into its deployed form: fewer parameters, the same answers in evaluation."""
        for module in self.modules():
            if isinstance(module, RepVggBlock):
                module.fuse()
        self.config.repvgg_fused = True
