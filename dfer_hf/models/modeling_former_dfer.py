"""Former-DFER: a convolutional spatial and a temporal transformer (Zhao and Liu, ACM MM 2021)."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_former_dfer import FormerDferConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel
from .modeling_frame_resnet import build_trunk
from .modeling_temporal_transformer import TemporalAttention, TemporalLayer, TemporalTransformer


class SpatialTransformer(nn.Module):
    """Self-attention among the places of one frame's map, by the temporal transformer's layers and without a token."""

    def __init__(self, config: FormerDferConfig) -> None:
        super().__init__()
        hidden_size = config.hidden_sizes[2]
        # The stem halves twice, stages 2 and 3 once each, all rounding up.
        map_size = -(-config.image_size // 16)
        self.position_embeddings = nn.Parameter(torch.empty(1, map_size**2, hidden_size))
        self.layers = nn.ModuleList(
            TemporalLayer(
                config,
                hidden_size,
                config.spatial_heads,
                config.spatial_head_dim,
                config.spatial_mlp_ratio * hidden_size,
            )
            for _ in range(config.spatial_depth)
        )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Mix the places of each map, `(batch·num_frames, hidden, height, width)`, and return maps of that shape."""
        tokens = maps.flatten(2).transpose(1, 2)  # (batch·frames, height·width, hidden)
        tokens = tokens + self.position_embeddings
        for layer in self.layers:
            tokens, _ = layer(tokens)
        return tokens.transpose(1, 2).unflatten(2, maps.shape[2:])


class FrameKeepingTransformer(TemporalTransformer):
    """The temporal transformer, which here also hands out what became of each frame."""

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return all tokens of `mix`, not the class token alone, and its weights."""
        return self.mix(frames)


class FormerDferForVideoClassification(DferPreTrainedModel):
    """Former-DFER.

    S-Former is a ResNet-18 with a transformer over the 7×7 map between its third and fourth stage; T-Former mixes the
    frames' vectors, and a linear classifier reads its class token.
    """

    config: FormerDferConfig
    config_class = FormerDferConfig
    sees_frames_apart = True
    evidence_layer = "spatial_transformer"
    last_map_layer = "trunk.encoder.stages.3"
    spatial_attention = "spatial_transformer"
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["TemporalLayer"]
    # Of the temporal transformer only: the spatial one's batch is the frames.
    _can_record_outputs = {
        "hidden_states": OutputRecorder(TemporalLayer, index=0, layer_name="temporal_transformer"),
        "attentions": OutputRecorder(TemporalAttention, index=1, layer_name="temporal_transformer"),
    }

    def __init__(self, config: FormerDferConfig) -> None:
        super().__init__(config)
        self.trunk = build_trunk(config, ["stage4"])
        self.spatial_transformer = SpatialTransformer(config)
        self.temporal_transformer = FrameKeepingTransformer(
            config,
            hidden_size=config.hidden_sizes[3],
            num_layers=config.temporal_depth,
            num_heads=config.temporal_heads,
            head_dim=config.temporal_head_dim,
            mlp_size=config.temporal_mlp_ratio * config.hidden_sizes[3],
        )
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_sizes[3], len(config.label_names))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SpatialTransformer | TemporalTransformer):
            # Unit variance, as in the authors' code.
            init.normal_(module.position_embeddings)
        if isinstance(module, TemporalTransformer):
            init.normal_(module.class_token)

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Classify clips.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`.

        Returns:
            The loss is the cross entropy. `frame_logits` are the classifier's on each frame's token after the last
            temporal layer; `frame_weights` are the class token's attention, multiplied through the layers.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_pixel_values(pixel_values_videos)
        return self.answer_encoded(self.encode_frames(pixel_values_videos), labels=labels)

    def encode_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """S-Former's vector of each frame, `(batch, num_frames, C_4)`; see the base class."""
        *stages, last_stage = self.trunk.encoder.stages
        maps = self.trunk.embedder(pixel_values_videos.flatten(0, 1))  # (batch·frames, C_1, h, w)
        for stage in stages:
            maps = stage(maps)
        maps = self.spatial_transformer(maps)  # (batch·frames, C_3, h, w)
        return last_stage(maps).mean(dim=(2, 3)).unflatten(0, pixel_values_videos.shape[:2])

    def answer_encoded(self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Run T-Former over the vectors, `(batch, num_frames, C_4)`; see the base class."""
        tokens, frame_weights = self.temporal_transformer(encoded)  # (batch, 1 + frames, C_4)
        token_logits = self.classifier(self.dropout(tokens))
        logits, frame_logits = token_logits[:, 0].float(), token_logits[:, 1:]

        loss = self.label_loss(logits, labels)
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=self.log_groups(logits),
            frame_logits=frame_logits,
            frame_weights=frame_weights,
            loss_parts=None if loss is None else {"cross_entropy": loss.detach()},
        )
