"""NR-DFERNet: a noise-robust network of differences, a dynamic class token and a snippet filter (Li et al. 2022)."""

import math

import torch
from torch import nn
from transformers import initialization as init
from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetConvLayer
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import OutputRecorder, capture_outputs

from .configuration_nr_dfernet import NrDfernetConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel
from .modeling_frame_resnet import build_trunk
from .modeling_temporal_transformer import TemporalLayer, class_token_weights


class StaticTransformer(nn.Module):
    """Relations between the patches of one frame (Sec. 3.3)."""

    def __init__(self, config: NrDfernetConfig, num_patches: int) -> None:
        super().__init__()
        hidden_size = config.hidden_sizes[-1]
        self.position_embeddings = nn.Parameter(torch.empty(1, num_patches, hidden_size))
        self.layers = nn.ModuleList(
            TemporalLayer(config, hidden_size, config.num_heads, config.head_dim, config.spatial_mlp_size)
            for _ in range(config.spatial_layers)
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Mix the cells of static features `(n, C, h, w)`, keeping their shape."""
        patches = features.flatten(2).transpose(1, 2)  # P^S: (n, h·w, C)
        hidden_states = patches + self.position_embeddings  # Eq. 3
        for layer in self.layers:
            hidden_states, _ = layer(hidden_states)
        return hidden_states.transpose(1, 2).unflatten(2, features.shape[2:])


class DynamicStaticFusion(nn.Module):
    """What a frame shows and how it differs from the next (DSF, Sec. 3.3)."""

    def __init__(self, config: NrDfernetConfig, num_patches: int) -> None:
        super().__init__()
        channels = config.hidden_sizes[-1]
        self.down_convolution = ResNetConvLayer(channels, channels, stride=2)  # Conv-D
        self.static_transformer = StaticTransformer(config, num_patches)
        self.dynamic_branch = None
        if config.dynamic_static_fusion:
            self.dynamic_branch = nn.Sequential(
                ResNetBasicLayer(channels, channels, stride=2),
                ResNetBasicLayer(channels, channels),
                ResNetBasicLayer(channels, channels),
            )

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Turn primary maps `(batch, num_frames, C, h, w)` into flat features `(batch, num_frames - 1, C·h/2·w/2)`."""
        batch_and_features = (maps.shape[0], maps.shape[1] - 1)
        static = self.down_convolution(maps[:, :-1].flatten(0, 1))  # Eq. 2: (batch·(frames-1), C, h/2, w/2)
        fused = self.static_transformer(static)
        if self.dynamic_branch is not None:
            differences = maps[:, 1:] - maps[:, :-1]  # Eq. 1: (batch, frames-1, C, h, w)
            fused = fused + self.dynamic_branch(differences.flatten(0, 1))  # Eq. 4
        return fused.flatten(1).unflatten(0, batch_and_features)  # P^DS


class SequenceTransformer(nn.Module):
    """Fused features to one vector, read from a class token that is their own mean (DCT, Sec. 3.4)."""

    def __init__(self, config: NrDfernetConfig, hidden_size: int) -> None:
        super().__init__()
        self.class_token = None
        if not config.dynamic_class_token:
            self.class_token = nn.Parameter(torch.empty(1, 1, hidden_size))
        self.position_embeddings = nn.Parameter(torch.empty(1, config.num_frames, hidden_size))
        self.layers = nn.ModuleList(
            TemporalLayer(config, hidden_size, config.num_heads, config.head_dim, config.temporal_mlp_size)
            for _ in range(config.temporal_layers)
        )

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """Prepend the class token to `(n, tokens, hidden)` and add the first `1 + tokens` positions."""
        if self.class_token is None:
            class_token = features.mean(dim=1, keepdim=True)  # T_d of Eq. 5
        else:
            class_token = self.class_token.expand(features.shape[0], -1, -1)
        hidden_states = torch.cat([class_token, features], dim=1)  # (n, 1 + tokens, hidden)
        return hidden_states + self.position_embeddings[:, : hidden_states.shape[1]]

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summarise a sequence.

        Args:
            features: Fused features, `(batch, tokens, hidden)`.

        Returns:
            The class token, `(batch, hidden)`, and how much of it comes from each feature, `(batch, tokens)`: the
            attention multiplied through the layers and normalised (Sec. 4.5), residual included.
        """
        hidden_states, attentions = self.embed(features), []
        for layer in self.layers:
            hidden_states, weights = layer(hidden_states)
            attentions.append(weights)
        return hidden_states[:, 0], class_token_weights(attentions)

    @torch.no_grad()
    def summarise_snippets(self, features: torch.Tensor, *, length: int, stride: int) -> torch.Tensor:
        """Summarise each window of a sequence as if it were a clip of its own (Sec. 3.5).

        Args:
            features: Fused features, `(batch, tokens, hidden)`.
            length: Features of a window.
            stride: Features from one window to the next.

        Returns:
            Their class tokens, `(batch, num_snippets, hidden)`, without gradient: they filter and explain.
        """
        snippets = features.unfold(1, length, stride).transpose(2, 3)  # (batch, snippets, length, hidden)
        hidden_states = self.embed(snippets.flatten(0, 1))
        for layer in self.layers:
            # Past the hooks, which record whole clips.
            hidden_states, _ = layer.forward(hidden_states)
        return hidden_states[:, 0].unflatten(0, snippets.shape[:2])


class NrDfernetForVideoClassification(DferPreTrainedModel):
    """The noise-robust network.

    Short ResNet stages give a map of every frame; a static branch relates its patches, a dynamic branch follows its
    difference from the next frame's, and their sums run through a temporal transformer. At the decision the same
    transformer also classifies short snippets: one that is clear and not neutral forbids a neutral answer.
    """

    config: NrDfernetConfig
    config_class = NrDfernetConfig
    sees_frames_apart = True
    evidence_layer = "trunk.encoder.stages.1"
    last_map_layer = "trunk.encoder.stages.2"
    spatial_attention = "fusion.static_transformer"
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["TemporalLayer"]
    _can_record_outputs = {
        "hidden_states": OutputRecorder(TemporalLayer, index=0, layer_name="temporal_transformer"),
        "attentions": OutputRecorder(TemporalLayer, index=1, layer_name="temporal_transformer"),
    }

    def __init__(self, config: NrDfernetConfig) -> None:
        super().__init__(config)
        num_patches = math.ceil(config.image_size / 32) ** 2
        token_size = config.hidden_sizes[-1] * num_patches
        self.trunk = build_trunk(config, ["stage3"])
        self.fusion = DynamicStaticFusion(config, num_patches)
        self.temporal_transformer = SequenceTransformer(config, token_size)
        self.classifier = nn.Linear(token_size, len(config.label_names))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, StaticTransformer | SequenceTransformer):
            # Unit variance, as in the authors' code.
            init.normal_(module.position_embeddings)
        if isinstance(module, SequenceTransformer) and module.class_token is not None:
            init.normal_(module.class_token)

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Classify clips.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`.

        Returns:
            `logits` are the filtered ones in evaluation (Eq. 7) and the whole clip's in training; the loss is the
            cross entropy of the whole clip's in both. `frame_logits` are the logarithm of the mean probabilities of
            the snippets that hold the frame, or else of those nearest to it, whether or not the filter is on; in
            training with labels, which needs no snippets, they are left out. `frame_weights` are the class token's
            attention to each frame's fused feature, multiplied through the layers; the last frame, known by its
            difference alone, has half of the weight of the frame before it, and none without fusion. `hidden_states`
            and `attentions` are the temporal transformer's of the whole clip.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_pixel_values(pixel_values_videos)
        return self.answer_encoded(self.encode_frames(pixel_values_videos), labels=labels)

    def encode_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Primary map of each frame, flat, `(batch, num_frames, C·h·w)`; see the base class."""
        maps = self.trunk(pixel_values_videos.flatten(0, 1)).feature_maps[0]  # F: (batch·frames, C, h, w)
        return maps.flatten(1).unflatten(0, pixel_values_videos.shape[:2])

    def answer_encoded(self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Do what follows the primary maps, `(batch, num_frames, C·h·w)`; see the base class."""
        config = self.config
        # The stem halves twice, stages 2 and 3 once each, all rounding up.
        side = math.ceil(config.image_size / 16)
        features = self.fusion(encoded.unflatten(2, (-1, side, side)))  # (batch, frames-1, hidden)
        summary, token_weights = self.temporal_transformer(features)
        sequence_logits = self.classifier(summary).float()
        logits, frame_logits = sequence_logits, None
        # Training has no use for the snippets: they filter and explain, and no loss sees them.
        if not self.training or labels is None:
            snippet_probabilities = self.classify_snippets(features)
            tiny = torch.finfo(torch.float32).tiny
            frame_logits = self.spread_snippets(snippet_probabilities).clamp_min(tiny).log()
            if config.snippet_filter and not self.training:
                logits = self.filter_neutral(sequence_logits, snippet_probabilities)

        loss = self.label_loss(sequence_logits, labels)
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=self.log_groups(logits),
            frame_logits=frame_logits,
            frame_weights=self.spread_weights(token_weights),
            loss_parts=None if loss is None else {"cross_entropy": loss.detach()},
        )

    @torch.no_grad()
    def classify_snippets(self, features: torch.Tensor) -> torch.Tensor:
        """Classify the snippets of fused features `(batch, frames - 1, hidden)`.

        Returns:
            Probabilities, `(batch, num_snippets, num_labels)`.
        """
        snippets = self.temporal_transformer.summarise_snippets(
            features, length=self.config.snippet_length, stride=self.config.snippet_stride
        )
        return self.classifier(snippets).float().softmax(dim=-1)

    def filter_neutral(self, sequence_logits: torch.Tensor, snippet_probabilities: torch.Tensor) -> torch.Tensor:
        """Take the neutral class from every clip with a clear, not neutral snippet (Eq. 7).

        Args:
            sequence_logits: Of the whole clips, `(batch, num_labels)`.
            snippet_probabilities: Of their snippets, `(batch, num_snippets, num_labels)`.

        Returns:
            The logits, in which the probability of the neutral class, once taken away, is the smallest a float can
            hold.
        """
        labels = self.config.label_names
        if self.config.neutral_label not in labels:
            return sequence_logits
        neutral = labels.index(self.config.neutral_label)
        clear = snippet_probabilities.amax(dim=-1) > self.config.snippet_confidence  # (batch, snippets)
        not_neutral = snippet_probabilities[..., neutral] < self.config.snippet_neutrality
        filtered = (clear & not_neutral).any(dim=1, keepdim=True)  # (batch, 1)
        is_neutral = torch.arange(len(labels), device=sequence_logits.device) == neutral  # (labels,)
        others = sequence_logits.masked_fill(is_neutral, -torch.inf).logsumexp(dim=-1, keepdim=True)
        lowest = others + math.log(torch.finfo(torch.float32).tiny)  # (batch, 1)
        return torch.where(filtered & is_neutral, torch.minimum(lowest, sequence_logits), sequence_logits)

    def spread_snippets(self, snippet_probabilities: torch.Tensor) -> torch.Tensor:
        """Average `(batch, num_snippets, num_labels)` over the snippets nearest each frame.

        Returns:
            Probabilities of shape `(batch, num_frames, num_labels)`.
        """
        length, stride = self.config.snippet_length, self.config.snippet_stride
        frames = torch.arange(self.config.num_frames, device=snippet_probabilities.device)[:, None]
        first = stride * torch.arange(snippet_probabilities.shape[1], device=frames.device)
        last = first + length - 1
        distance = torch.maximum(first - frames, frames - last).clamp_min(0)  # (frames, snippets)
        nearest = (distance == distance.amin(dim=1, keepdim=True)).float()
        shares = nearest / nearest.sum(dim=1, keepdim=True)
        return (shares[:, :, None] * snippet_probabilities[:, None]).sum(dim=2)

    def spread_weights(self, token_weights: torch.Tensor) -> torch.Tensor:
        """Give the weights of the fused features, `(batch, num_frames - 1)`, to the frames, `(batch, num_frames)`."""
        last = token_weights[:, -1:]
        to_last_frame = last / 2 if self.config.dynamic_static_fusion else torch.zeros_like(last)
        return torch.cat([token_weights[:, :-1], last - to_last_frame, to_last_frame], dim=1)
