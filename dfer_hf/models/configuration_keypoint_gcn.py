"""Configuration of the key-point GCN."""

from dataclasses import field

from huggingface_hub.dataclasses import strict

from .configuration_dfer import PrintedSize
from .configuration_frame_resnet import FrameResNetConfig

FUSIONS = ("region", "mean", "lstm")
TEMPORAL_MODULES = ("attention", "lstm", "none")


@strict
class KeypointGcnConfig(FrameResNetConfig):
    """Region fusion by key points and temporal self-attention, Huang et al., EAAI 2024; defaults are the paper's best.

    The paper leaves open what follows; each choice names its ground.

    - The third stage of the ResNet keeps its resolution and the fourth halves it. Sec. 3.1.1 changes "the stride of
      last two convolution layers to obtain a larger feature map". The third stage has two convolutions with a stride,
      that of its first block and that of its shortcut; with them at 1 the map of 112×112 pixels is 7×7, and the cost,
      17.33 billion, fits the 17.52 of a later survey. Both last stages at 1 give 14×14 and 36.85 billion:
      `unstrided_stages=[3, 4]`.
    - Key points: three of each brow, two corners of each eye, two of the bridge of the nose, four of the mouth, and
      the cheeks. Sec. 3.2 has five upper left, five upper right, "some cheeks and the whole mouth" with six, and skips
      two on the bridge. A cheek is the centre of a lower eyelid, a side of the nose and the jaw beside the mouth.
    - Edges join neighbours along brows, eyes, nose and mouth, and the cheeks to eye, nose and mouth; none joins a node
      to itself, since Eq. 3 adds it, and rows are not normalised, as printed.
    - `W_a` of Eq. 4 scales the rows of `A`: a node decides how much it takes in.
    - `W_learn` starts as the identity over its width, so that `W_a` is a mean product: features are never negative
      here, and the ReLU of Eq. 4 starts open; a random matrix shuts it for good in about every second draw.
    - A heat map is a Gaussian distribution in units of an even one: Eq. 2 then gives key points features of the same
      size as the whole face's, which Eq. 3 puts through the same layer.
    - The temporal layers are Former-DFER's (heads of 64, perceptron twice as wide as the token), the sampling's
      source.
    - Without the graph (models A and D of Table 9) the fully connected `f` stays: tokens keep their width.
    - The LSTMs of Tables 9 and 10 have one layer as wide as what goes in; under the mean and LSTM fusions a frame's
      token is as wide as a node.
    - Without a temporal module (models A and B) the fully connected layer of Eq. 5 gives the answer.

    Rows of Table 9: A is `graph_convolution=False, fusion="mean", temporal="none"`; B `temporal="none"`;
    C `temporal="lstm"`; D `graph_convolution=False`; E the default.

    Args:
        classifier_dropout: Dropout of the frames' tokens and of the clip's before the classifiers, in training.
        unstrided_stages: Stages of the ResNet, 2 to 4, that keep the resolution of what they get.
        heat_map_sigma: Standard deviation of a key point's Gaussian, in cells of the feature map.
        graph_convolution: Whether key points take in their neighbours (Eq. 3 and 4); Table 9.
        node_size: Width of a key point after the graph convolution.
        fusion: Key points to a frame's token: `region` means side by side, `mean`, or the last output of an `lstm`;
            Table 10.
        temporal: Frames to the clip: `attention`, `lstm`, or `none`, the mean; Table 9.
        temporal_layers: Layers of the temporal transformer; Table 12.
        temporal_heads: Attention heads of each; Table 11.
        temporal_head_dim: Width of a head.
        temporal_mlp_ratio: Width of the perceptron over the width of a token.
        lambda_spatial: Weight of the auxiliary loss, λ of Eq. 13, at most 0.5; Fig. 8. At 0 nothing teaches
            `frame_logits`.
        landmark_width: Width of the landmark head, which stands in for the paper's dlib.
    """

    model_type = "dfer_keypoint_gcn"
    presets = {
        "paper": {},
        "small": {"hidden_sizes": [32, 64, 128, 256], "node_size": 64, "temporal_head_dim": 32},
        "tiny": FrameResNetConfig.presets["tiny"]
        | {"node_size": 8, "temporal_layers": 2, "temporal_heads": 2, "temporal_head_dim": 8, "landmark_width": 8},
    }
    printed = {
        "paper": PrintedSize(
            parameters=17.0,
            multiply_adds=17.52,
            note="Parameters: Table 3, which cuts decimals off; multiply-adds: SurveyFER's list, as the paper prints "
            "none. Neither counts dlib, so ours is to be compared without the landmark head.",
        )
    }

    unstrided_stages: list[int] = field(default_factory=lambda: [3])
    heat_map_sigma: float | int = 0.7
    graph_convolution: bool = True
    node_size: int = 128
    fusion: str = "region"
    temporal: str = "attention"
    temporal_layers: int = 3
    temporal_heads: int = 8
    temporal_head_dim: int = 64
    temporal_mlp_ratio: int = 2
    lambda_spatial: float | int = 0.2
    landmark_width: int = 32

    def validate_modules(self) -> None:
        """Refuse fusions and temporal modules the paper does not know, and numbers out of range."""
        if any(stage not in (2, 3, 4) for stage in self.unstrided_stages):
            raise ValueError(f"`unstrided_stages` must be some of [2, 3, 4], got {self.unstrided_stages}.")
        if self.fusion not in FUSIONS:
            raise ValueError(f"`fusion` must be one of {list(FUSIONS)}, got {self.fusion!r}.")
        if self.temporal not in TEMPORAL_MODULES:
            raise ValueError(f"`temporal` must be one of {list(TEMPORAL_MODULES)}, got {self.temporal!r}.")
        if not self.heat_map_sigma > 0:
            raise ValueError(f"`heat_map_sigma` must be positive, got {self.heat_map_sigma}.")
        if not 0 <= self.lambda_spatial <= 0.5:
            raise ValueError(f"`lambda_spatial` must be between 0 and 0.5, got {self.lambda_spatial}.")
