"""Key-points GCN with region fusion and temporal self-attention (Huang et al., EAAI 2024)."""

import math

import torch
from torch import nn
from transformers import ResNetBackbone
from transformers import initialization as init
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_keypoint_gcn import KeypointGcnConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel, cross_entropy
from .modeling_frame_resnet import build_trunk
from .modeling_landmark_head import NUM_LANDMARKS, LandmarkHead
from .modeling_temporal_transformer import TemporalAttention, TemporalLayer, TemporalTransformer
from .modeling_triplet_attention import TripletAttention

# Left and right are the picture's. iBUG numbers from 0, in the order of the nodes.
LEFT_BROW_AND_EYE = (17, 19, 21, 36, 39)  # nodes 0 to 4
RIGHT_BROW_AND_EYE = (26, 24, 22, 45, 42)  # nodes 5 to 9, mirrored
NOSE_BRIDGE = (27, 29)  # nodes 10 and 11
MOUTH = (48, 51, 54, 57)  # nodes 12 to 15
CHEEK_TRIANGLES = ((41, 31, 4), (46, 35, 12))  # nodes 16 and 17: lower eyelid, side of the nose, jaw
LANDMARKS = LEFT_BROW_AND_EYE + RIGHT_BROW_AND_EYE + NOSE_BRIDGE + MOUTH
NUM_NODES = len(LANDMARKS) + len(CHEEK_TRIANGLES)
REGIONS = (slice(0, 5), slice(5, 10), slice(12, 18))
EDGES = (
    *((0, 1), (1, 2), (0, 3), (2, 4), (3, 4)),  # left brow and eye
    *((5, 6), (6, 7), (5, 8), (7, 9), (8, 9)),  # right brow and eye
    *((2, 7), (4, 10), (9, 10), (10, 11), (11, 13)),  # between the brows, and down the nose to the upper lip
    *((12, 13), (13, 14), (14, 15), (15, 12)),  # around the mouth
    *((16, 3), (16, 11), (16, 12), (17, 8), (17, 11), (17, 14)),  # cheeks
)


def adjacency_matrix() -> torch.Tensor:
    """Which key points are joined, `(18, 18)` of zeros and ones."""
    rows = [[float((i, j) in EDGES or (j, i) in EDGES) for j in range(NUM_NODES)] for i in range(NUM_NODES)]
    return torch.tensor(rows)


def key_points(landmarks: torch.Tensor) -> torch.Tensor:
    """Choose 16 of the landmarks `(n, 68, 2)` and add the two cheeks: `(n, 18, 2)`."""
    cheeks = [landmarks[:, list(triangle)].mean(dim=1, keepdim=True) for triangle in CHEEK_TRIANGLES]
    return torch.cat([landmarks[:, list(LANDMARKS)], *cheeks], dim=1)


def heat_maps(points: torch.Tensor, height: int, width: int, sigma: float) -> torch.Tensor:
    """Draw a Gaussian distribution about each point, in units of an even one.

    The mean of features times such a map is their average about the point, as large as their plain mean; what of the
    distribution lies outside the map is lost.

    Args:
        points: `(n, points, 2)`, x and y as fractions of the side.
        height: Cells of the map from top to bottom.
        width: Cells of the map from left to right.
        sigma: Standard deviation in cells.

    Returns:
        The Gaussians at the centres of the cells, `(n, points, height, width)`.
    """
    x = torch.arange(width, device=points.device) + 0.5 - points[..., :1] * width  # (n, points, width)
    y = torch.arange(height, device=points.device) + 0.5 - points[..., 1:] * height  # (n, points, height)
    column, row = (-x.square() / (2 * sigma**2)).exp(), (-y.square() / (2 * sigma**2)).exp()
    return row[..., :, None] * column[..., None, :] * (height * width / (2 * math.pi * sigma**2))


def build_wide_trunk(config: KeypointGcnConfig) -> ResNetBackbone:
    """Build the ResNet with its unstrided stages; by default the last map has a 16th of the frame's side."""
    trunk = build_trunk(config, ["stage4"])
    for stage in config.unstrided_stages:
        for module in trunk.get_submodule(f"encoder.stages.{stage - 1}").modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
    return trunk


class KeyPointGraphConvolution(nn.Module):
    """Strengthen key points by their neighbours, as far as they agree with the whole face, and narrow them."""

    adjacency: torch.Tensor

    def __init__(self, in_size: int, node_size: int, *, takes_in_neighbours: bool) -> None:
        super().__init__()
        self.takes_in_neighbours = takes_in_neighbours
        if takes_in_neighbours:
            self.relation = nn.Parameter(torch.empty(in_size, in_size))  # W_learn
            self.register_buffer("adjacency", adjacency_matrix())
        self.narrow = nn.Linear(in_size, node_size)  # f

    def forward(self, local_features: torch.Tensor, global_feature: torch.Tensor) -> torch.Tensor:
        """Convolve key points `(n, 18, C)` by the whole face `(n, 1, C)`; the last of `(n, 19, node)` is the face."""
        if self.takes_in_neighbours:
            related = self.relation @ global_feature.transpose(1, 2)  # (n, C, 1)
            relevance = (local_features @ related).relu()  # W_a of Eq. 4: (n, 18, 1)
            neighbours = self.adjacency @ local_features  # (n, 18, C)
            local_features = local_features + relevance * neighbours  # Eq. 3; W_a scales the rows of A
        return self.narrow(torch.cat([local_features, global_feature], dim=1)).relu()


class TemporalLstm(nn.Module):
    """Frames to one vector by an LSTM layer, its last output (model C of Table 9)."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(hidden_size, hidden_size, batch_first=True)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Summarise frames `(batch, num_frames, hidden)` to `(batch, hidden)` and say how much each counted."""
        outputs = self.lstm(frames)[0]  # (batch, frames, hidden)
        return outputs[:, -1], self.memory_shares(frames, outputs)

    @torch.no_grad()
    def memory_shares(self, frames: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Say how much of the last memory each frame wrote, `(batch, num_frames)`, summing to 1.

        The memory is exactly the sum over frames of what each wrote, times all later forget gates; a frame's share is
        the absolute value of its term, summed over the channels.
        """
        weight_input, weight_hidden, bias_input, bias_hidden = self.lstm.all_weights[0]
        before = nn.functional.pad(outputs[:, :-1], (0, 0, 1, 0))  # what the layer had said one frame earlier
        gates = nn.functional.linear(frames, weight_input, bias_input)
        gates = gates + nn.functional.linear(before, weight_hidden, bias_hidden)
        write, keep, candidate, _ = gates.float().chunk(4, dim=-1)  # each (batch, frames, hidden)
        log_keep = nn.functional.logsigmoid(keep)
        kept_since = (log_keep.flip(1).cumsum(dim=1).flip(1) - log_keep).exp()
        written = (kept_since * write.sigmoid() * candidate.tanh()).abs().sum(dim=-1)
        written = written + torch.finfo(torch.float32).tiny  # equal shares where nothing was written
        return written / written.sum(dim=-1, keepdim=True)


class KeypointGcnForVideoClassification(DferPreTrainedModel):
    """The key-points GCN.

    A ResNet with triplet attention gives a map of each frame; Gaussians about 18 key points draw a feature of each
    from it; a graph convolution strengthens them by their neighbours; the means of three regions of the face and the
    whole face, side by side, are the frame's token; a temporal transformer sums up the tokens. Where no landmarks are
    given, a frozen head finds them in the frames; it stands in for the paper's dlib and must have been taught
    beforehand.
    """

    config: KeypointGcnConfig
    config_class = KeypointGcnConfig
    sees_frames_apart = True
    evidence_layer = "trunk.encoder.stages.2"
    last_map_layer = "triplet_attention"
    _supports_sdpa = True
    _supports_attention_backend = True
    _no_split_modules = ["TemporalLayer"]
    _can_record_outputs = {"hidden_states": TemporalLayer, "attentions": TemporalAttention}

    def __init__(self, config: KeypointGcnConfig) -> None:
        super().__init__(config)
        num_labels, node_size = len(config.label_names), config.node_size
        token_size = (len(REGIONS) + 1) * node_size if config.fusion == "region" else node_size
        self.trunk = build_wide_trunk(config)
        self.triplet_attention = TripletAttention()
        self.graph_convolution = KeyPointGraphConvolution(
            config.hidden_sizes[-1], node_size, takes_in_neighbours=config.graph_convolution
        )
        if config.fusion == "lstm":
            self.fusion_lstm = nn.LSTM(node_size, node_size, batch_first=True)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.spatial_classifier = nn.Linear(token_size, num_labels)
        if config.temporal == "attention":
            self.temporal = TemporalTransformer(
                config,
                hidden_size=token_size,
                num_layers=config.temporal_layers,
                num_heads=config.temporal_heads,
                head_dim=config.temporal_head_dim,
                mlp_size=config.temporal_mlp_ratio * token_size,
            )
        elif config.temporal == "lstm":
            self.temporal = TemporalLstm(token_size)
        if config.temporal != "none":
            self.classifier = nn.Linear(token_size, num_labels)
        self.landmark_head = LandmarkHead(config.num_channels, config.landmark_width)
        self.post_init()
        self.train(self.training)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, TemporalTransformer):
            init.normal_(module.class_token)  # unit variance, as in Former-DFER's code
            init.normal_(module.position_embeddings)
        elif isinstance(module, KeyPointGraphConvolution):
            init.kaiming_normal_(module.narrow.weight, nonlinearity="relu")
            if module.takes_in_neighbours:
                init.copy_(module.relation, torch.eye(module.relation.shape[0]) / module.relation.shape[0])
                init.copy_(module.adjacency, adjacency_matrix())

    def train(self, mode: bool = True) -> "KeypointGcnForVideoClassification":
        """Switch to training; the landmark head stays frozen: no gradients, and batch statistics in evaluation."""
        super().train(mode)
        self.landmark_head.eval()
        self.landmark_head.requires_grad_(False)  # here, because loading a checkpoint makes it trainable
        return self

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(
        self,
        pixel_values_videos: torch.Tensor,
        labels: torch.Tensor | None = None,
        landmarks: torch.Tensor | None = None,
        **kwargs,
    ) -> DferOutput:
        """Classify clips.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`.
            landmarks: x and y of the 68 iBUG landmarks in pixels of the crop, `(batch, num_frames, 68, 2)`: 0 at its
                left and upper edge, `image_size` at the others, and beyond for what lies outside. The landmark head
                finds them when they are left out.

        Returns:
            `frame_logits` are the auxiliary classifier's of each frame's token; their mean over the frames is what the
            spatial loss of Eq. 5 compares with the label. `frame_weights` are the class token's attention to the
            frames, multiplied through the layers; with `temporal="lstm"` what each frame wrote of the last memory;
            with `temporal="none"` equal, because the mean treats the frames so.

        Raises:
            ValueError: If a shape, a label, a landmark or a pixel value is not what the configuration says.
        """
        self.check_pixel_values(pixel_values_videos)
        if landmarks is not None:
            self.check_landmarks(landmarks, len(pixel_values_videos))
        return self.answer_encoded(self.encode_frames(pixel_values_videos, landmarks), labels=labels)

    def encode_frames(self, pixel_values_videos: torch.Tensor, landmarks: torch.Tensor | None = None) -> torch.Tensor:
        """Token of each frame, `(batch, num_frames, token)`; see the base class, and `forward` for the landmarks."""
        frames = pixel_values_videos.flatten(0, 1)  # (batch·frames, channels, s, s)
        if landmarks is None:
            with torch.no_grad():
                places = self.landmark_head(frames).float()  # (batch·frames, 68, 2), fractions of the side
        else:
            places = landmarks.flatten(0, 1).float() / self.config.image_size

        maps = self.trunk(frames).feature_maps[0]  # (batch·frames, C, h, w)
        maps = self.triplet_attention(maps)  # F_i of Eq. 1
        height, width = maps.shape[2:]
        attention_maps = heat_maps(key_points(places), height, width, self.config.heat_map_sigma)
        cells = maps.flatten(2).transpose(1, 2)  # (batch·frames, h·w, C)
        local_features = attention_maps.flatten(2).to(cells.dtype) @ cells / cells.shape[1]  # Eq. 2
        global_feature = cells.mean(dim=1, keepdim=True)  # (batch·frames, 1, C)
        nodes = self.graph_convolution(local_features, global_feature)  # (batch·frames, 19, node)
        return self.fuse(nodes).unflatten(0, pixel_values_videos.shape[:2])  # (batch, frames, token)

    def answer_encoded(self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Sum up the frames' tokens, `(batch, num_frames, token)`; see the base class."""
        batch_size, num_frames = encoded.shape[:2]
        frame_logits = self.spatial_classifier(self.dropout(encoded)).float()  # (batch, frames, labels)
        spatial_logits = frame_logits.mean(dim=1)  # the classifier is linear: as of the mean token of Eq. 5
        if self.config.temporal == "none":
            logits = spatial_logits
            frame_weights = torch.full_like(frame_logits[..., 0], 1 / num_frames)
        else:
            summary, frame_weights = self.temporal(encoded)
            logits = self.classifier(self.dropout(summary)).float()

        loss, loss_parts = None, None
        if labels is not None:
            target = self.label_distribution(labels, batch_size)
            loss_parts = {
                "cross_entropy": cross_entropy(logits, target),  # L_T, Eq. 12
                "spatial": cross_entropy(spatial_logits, target),  # L_S, Eq. 5
            }
            weight = self.config.lambda_spatial
            loss = weight * loss_parts["spatial"] + (1 - weight) * loss_parts["cross_entropy"]  # Eq. 13
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=self.log_groups(logits),
            frame_logits=frame_logits,
            frame_weights=frame_weights,
            loss_parts=loss_parts,
        )

    def fuse(self, nodes: torch.Tensor) -> torch.Tensor:
        """Fuse key points and face `(n, 19, node)` into one token per frame (Sec. 3.2, Table 10)."""
        if self.config.fusion == "region":
            # Each (n, node); the nose is left out.
            regions = [nodes[:, region].mean(dim=1) for region in REGIONS]
            return torch.cat([*regions, nodes[:, -1]], dim=-1)  # (n, 4 node)
        if self.config.fusion == "mean":
            return nodes.mean(dim=1)
        return self.fusion_lstm(nodes)[0][:, -1]

    def check_landmarks(self, landmarks: torch.Tensor, batch_size: int) -> None:
        """Refuse landmarks that do not belong to the clips.

        Raises:
            ValueError: If the shape is not `(batch, num_frames, 68, 2)`, or a coordinate is not finite.
        """
        expected = (batch_size, self.config.num_frames, NUM_LANDMARKS, 2)
        if tuple(landmarks.shape) != expected:
            raise ValueError(
                f"Expected `landmarks` of shape {expected}, 68 points for each frame, got {tuple(landmarks.shape)}."
            )
        if not torch.compiler.is_compiling() and not torch.isfinite(landmarks).all():
            raise ValueError(
                "Expected finite `landmarks`, got NaN or infinity. Leave `landmarks` out to have the model find them."
            )
