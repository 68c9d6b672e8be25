"""AEN: frame-level emotion guidance with emotion grouping (Lee et al., CVPRW 2023)."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_aen import AenConfig
from .configuration_frame_resnet import FrameResNetConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel
from .modeling_frame_resnet import FrameResNetForVideoClassification, build_trunk
from .modeling_temporal_transformer import TemporalAttention, TemporalLayer, TemporalTransformer


class SemanticToAffectiveConverter(nn.Module):
    """Refine an affective vector by a semantic one (S2AC, Eq. 1)."""

    def __init__(self, semantic_size: int, affective_size: int, *, scale_size: int) -> None:
        super().__init__()
        self.scale = scale_size**0.5
        self.expand = nn.Linear(semantic_size, affective_size)
        self.weight_1 = nn.Linear(affective_size, affective_size, bias=False)
        self.weight_2 = nn.Linear(affective_size, affective_size, bias=False)

    def forward(self, affective: torch.Tensor, semantic: torch.Tensor) -> torch.Tensor:
        """Convert `(batch, affective)` and `(batch, semantic)` to the next level's `(batch, affective)`."""
        semantic = self.expand(semantic)
        scores = self.weight_1(affective)[:, :, None] * semantic[:, None, :]  # (batch, affective, affective)
        attention = (scores / self.scale).softmax(dim=-1)
        return self.weight_2((attention @ semantic[:, :, None])[..., 0])


class AenForVideoClassification(DferPreTrainedModel):
    """The affectivity extraction network.

    A ResNet gives three semantic levels of every frame; a temporal transformer sums up each; two converters lead from
    the highest level to the coarse and on to the fine classes. A second ResNet, the guide, stays as it was trained on
    stills and says what each frame shows: it teaches the losses and answers `frame_logits`.
    """

    config: AenConfig
    config_class = AenConfig
    sees_frames_apart = True
    evidence_layer = "trunk.encoder.stages.1"
    last_map_layer = "trunk.encoder.stages.3"
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["TemporalLayer"]
    _can_record_outputs = {"hidden_states": TemporalLayer, "attentions": TemporalAttention}

    def __init__(self, config: AenConfig) -> None:
        super().__init__(config)
        sizes, num_labels, num_groups = config.hidden_sizes[1:], len(config.label_names), len(config.groups)
        self.trunk = build_trunk(config, ["stage2", "stage3", "stage4"])
        self.squeezes = nn.ModuleList(nn.Conv2d(size, size, kernel_size=1) for size in sizes)
        self.temporal_transformers = nn.ModuleList(
            TemporalTransformer(
                config,
                hidden_size=size,
                num_layers=config.temporal_layers,
                num_heads=config.temporal_heads,
                head_dim=config.temporal_head_dim,
                mlp_size=config.temporal_mlp_ratio * size,
            )
            for size in sizes
        )
        coarse_scale, fine_scale = (sizes[1], sizes[0]) if config.converter_scale == "level" else (sizes[2], sizes[2])
        self.coarse_converter = SemanticToAffectiveConverter(sizes[1], sizes[2], scale_size=coarse_scale)
        self.fine_converter = SemanticToAffectiveConverter(sizes[0], sizes[2], scale_size=fine_scale)
        self.global_classifier = nn.Linear(sizes[2], num_labels)
        self.coarse_classifier = nn.Linear(sizes[2], num_groups)
        self.fine_classifier = nn.Linear(sizes[2], num_labels)
        self.guide = FrameResNetForVideoClassification(
            FrameResNetConfig(
                image_size=config.image_size,
                num_channels=config.num_channels,
                hidden_sizes=config.hidden_sizes,
                depths=config.depths,
                id2label=config.id2label,
                groups=config.groups,
                group_names=config.group_names,
            )
        )
        self.post_init()
        self.train(self.training)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TemporalTransformer):
            # Unit variance, as in Former-DFER's code.
            init.normal_(module.class_token)
            init.normal_(module.position_embeddings)

    def train(self, mode: bool = True) -> "AenForVideoClassification":
        """Switch to training; the guide stays frozen: no gradients, and batch statistics in evaluation."""
        super().train(mode)
        self.guide.eval()
        # Here, because loading a checkpoint makes every parameter trainable.
        self.guide.requires_grad_(False)
        return self

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Classify clips.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`.

        Returns:
            `logits` are the logarithm of P_O at the fine level and `coarse_logits` at the coarse one (Eq. 3);
            `frame_logits` are the guide's; `frame_weights` are the class tokens' attention to the frames, multiplied
            through the layers, mean of the three semantic levels.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_pixel_values(pixel_values_videos)
        return self.answer_encoded(self.encode_frames(pixel_values_videos), labels=labels)

    def encode_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """What trunk and guide say of each frame; see the base class.

        Returns:
            The means over the trunk's three maps and the guide's logits, `(batch, num_frames, ΣC_s + num_labels)`.
        """
        # Three of (batch·frames, C_s, h, w).
        maps = self.trunk(pixel_values_videos.flatten(0, 1)).feature_maps
        with torch.no_grad():
            frame_logits = self.guide.encode_frames(pixel_values_videos)  # (batch, frames, labels)
        means = [level_map.mean(dim=(2, 3)).unflatten(0, frame_logits.shape[:2]) for level_map in maps]
        return torch.cat([*means, frame_logits], dim=-1)

    def answer_encoded(self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Do what follows trunk and guide; see the base class."""
        batch_size = encoded.shape[0]
        sizes = [*self.config.hidden_sizes[1:], len(self.config.label_names)]
        *means, frame_logits = encoded.split(sizes, dim=-1)  # (batch, frames, C_s) and (batch, frames, labels)
        levels, summaries, weights = [], [], []
        for squeeze, transformer, mean in zip(self.squeezes, self.temporal_transformers, means, strict=True):
            # The squeeze is linear, so that of the mean over a map is the mean of the squeezed map.
            level = squeeze(mean.flatten(0, 1)[:, :, None, None]).flatten(1).unflatten(0, mean.shape[:2])
            summary, frame_weights = transformer(level)
            levels.append(level)  # I_s: (batch, frames, C_s)
            summaries.append(summary)  # V_s: (batch, C_s)
            weights.append(frame_weights)

        # F_1 of F_0 = V_2 and V_1.
        coarse_features = self.coarse_converter(summaries[2], summaries[1])
        # F_2 of F_1 and V_0.
        fine_features = self.fine_converter(coarse_features, summaries[0])
        global_logits = self.global_classifier(summaries[2]).float()
        coarse_local = self.coarse_classifier(coarse_features).float()
        fine_local = self.fine_classifier(fine_features).float()

        alpha = self.config.alpha
        global_probabilities = global_logits.softmax(dim=-1)
        # P_O at level 2 and 1, Eq. 3.
        fine = alpha * fine_local.softmax(dim=-1) + (1 - alpha) * global_probabilities
        coarse = alpha * coarse_local.softmax(dim=-1) + (1 - alpha) * self.sum_groups(global_probabilities)
        tiny = torch.finfo(torch.float32).tiny
        logits, coarse_logits = fine.clamp_min(tiny).log(), coarse.clamp_min(tiny).log()

        loss, loss_parts = None, None
        if labels is not None:
            target = self.label_distribution(labels, batch_size)
            frame_probabilities = frame_logits.float().softmax(dim=-1)  # S_2
            loss_parts = {
                "cross_entropy": -(target * logits).sum(dim=-1).mean(),
                "multi_class": -(self.sum_groups(target) * coarse_logits).sum(dim=-1).mean()
                - (target * logits).sum(dim=-1).mean(),
                "temporal": self.temporal_loss(levels, summaries, frame_probabilities, target),
                "global": self.global_loss(coarse_local, fine_local, frame_probabilities),
            }
            factors = {"temporal": self.config.lambda_temporal, "global": self.config.lambda_global}
            terms = [factors.get(term, 1.0) * loss_parts[term] for term in self.config.loss_terms]
            loss = torch.stack(terms).sum()
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=coarse_logits,
            frame_logits=frame_logits,
            frame_weights=torch.stack(weights).mean(dim=0),
            loss_parts=loss_parts,
        )

    def temporal_loss(
        self,
        levels: list[torch.Tensor],
        summaries: list[torch.Tensor],
        frame_probabilities: torch.Tensor,
        target: torch.Tensor,
    ) -> torch.Tensor:
        """L_ta of Eq. 4: each summary against its frames, weighted by the guide's belief in the clip's label.

        The weights are not normalised over the frames, as printed.
        """
        frame_belief = (frame_probabilities * target[:, None]).sum(dim=-1)  # S_2 Y: (batch, frames)
        total = torch.zeros((), device=target.device)
        for level, summary in zip(levels, summaries, strict=True):
            guided = (frame_belief[:, :, None] * level.float()).sum(dim=1)  # I_s^T S_2 Y: (batch, C_s)
            distance = (summary.float() - guided).abs()
            is_sum = self.config.temporal_reduction == "sum"
            total = total + (distance.sum(dim=-1) if is_sum else distance.mean(dim=-1)).mean()
        return total

    def global_loss(
        self, coarse_local: torch.Tensor, fine_local: torch.Tensor, frame_probabilities: torch.Tensor
    ) -> torch.Tensor:
        """L_ga of Eq. 5: each local classifier's sigmoids against the guide's mean over the frames."""
        fine_mean = frame_probabilities.mean(dim=1)  # (batch, labels)
        coarse_mean = self.sum_groups(fine_mean)  # (batch, groups)
        coarse_loss = (coarse_local.sigmoid() - coarse_mean).square().sum(dim=-1).mean()
        fine_loss = (fine_local.sigmoid() - fine_mean).square().sum(dim=-1).mean()
        return self.config.beta[0] * coarse_loss + self.config.beta[1] * fine_loss
