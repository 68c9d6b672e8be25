"""Configuration of NR-DFERNet."""

from dataclasses import field

from huggingface_hub.dataclasses import strict

from .configuration_dfer import DferConfig, PrintedSize


@strict
class NrDfernetConfig(DferConfig):
    """The noise-robust network of Li et al., 2022; the defaults are the paper's best.

    The paper leaves open what follows; each choice names its ground. "The authors' code" is that of their later
    IAL, which took over the fusion module (muse1998/IAL-for-Facial-Expression-Recognition 39a24b6, modules.py).

    - The "three convolutional layers" of Sec. 3.2 are a ResNet-18's stem and first three stages, one block each: the
      authors' code has the stages, and with a ResNet's own stem the count agrees with Table 3.
    - The "three convolutional blocks" of Sec. 3.3 are three residual ones, the first with stride 2; Conv-D is a 3×3
      convolution, normalised and rectified: the authors' code.
    - Seven cells, halved, are four: a frame has 16 patches where Sec. 3.3 writes HW/4.
    - Transformer layers are pre-norm, heads 32 wide, perceptrons 256 (spatial) and 512 (temporal) wide, first position
      embeddings of unit variance: the authors' code, in which Table 3 counts up.
    - A snippet is a window over the T - 1 fused features, not over the T frames of Eq. 6: Table 3 counts 3 features
      to a snippet of length 3. By default both give 7 snippets. A snippet's positions start from the first one.
    - The filter belongs to the decision (Sec. 3.5): it is left out in training and never enters the loss.
    - Without fusion (Table 1) the last frame is still left out, as Eq. 4 runs to T - 1.

    Args:
        hidden_sizes: Channels of the three stages; the first is also the stem's, the last that of the fused features.
        depths: Residual blocks of the three stages.
        spatial_layers: Layers of the static transformer, M of Table 3.
        temporal_layers: Layers of the temporal transformer, N of Table 3.
        num_heads: Attention heads of both.
        head_dim: Width of a head.
        spatial_mlp_size: Width of the static transformer's perceptron.
        temporal_mlp_size: Width of the temporal transformer's perceptron.
        dynamic_static_fusion: Whether the dynamic branch is added to the static one (DSF of Table 1).
        dynamic_class_token: Whether the class token is the mean of the fused features instead of a learned one (DCT
            of Table 1).
        snippet_filter: Whether a clear snippet takes the neutral class from the clip (SF of Table 1).
        snippet_length: Fused features of a snippet, L of Table 2.
        snippet_stride: Fused features from one snippet to the next, S of Table 2.
        snippet_confidence: Probability above which a snippet's best class is clear, μ1 of Eq. 7.
        snippet_neutrality: Probability of the neutral class below which a snippet is not neutral, μ2 of Eq. 7.
        neutral_label: The class the filter takes away; where no label has this name, nothing is ever filtered.
    """

    model_type = "dfer_nr_dfernet"
    presets = {
        "paper": {},
        "small": {"hidden_sizes": [32, 64, 128], "spatial_mlp_size": 128},
        # Of 64 pixels four patches remain; a single one would leave the static attention nothing to choose.
        "tiny": {
            "num_frames": 4,
            "image_size": 64,
            "hidden_sizes": [8, 12, 16],
            "num_heads": 2,
            "head_dim": 8,
            "spatial_layers": 1,
            "temporal_layers": 2,
            "spatial_mlp_size": 16,
            "temporal_mlp_size": 32,
            "snippet_length": 1,
            "snippet_stride": 1,
        },
    }
    printed = {
        "paper": PrintedSize(
            parameters=None,
            multiply_adds=6.33,
            note="Table 3. Its six rows follow when the linear layers of the transformers are counted twice, as the "
            "authors' later code runs each of them twice to the same effect; ours run once.",
        )
    }

    hidden_sizes: list[int] = field(default_factory=lambda: [64, 128, 256])
    depths: list[int] = field(default_factory=lambda: [1, 1, 1])
    spatial_layers: int = 2
    temporal_layers: int = 4
    num_heads: int = 4
    head_dim: int = 32
    spatial_mlp_size: int = 256
    temporal_mlp_size: int = 512
    dynamic_static_fusion: bool = True
    dynamic_class_token: bool = True
    snippet_filter: bool = True
    snippet_length: int = 3
    snippet_stride: int = 2
    snippet_confidence: float | int = 0.7
    snippet_neutrality: float | int = 0.05
    neutral_label: str = "neutral"

    def validate_layers(self) -> None:
        """Refuse a different number of stages than three, and transformers without layers."""
        if len(self.hidden_sizes) != 3 or len(self.depths) != 3:
            raise ValueError(
                f"`hidden_sizes` and `depths` must have three entries, got {self.hidden_sizes} and {self.depths}."
            )
        for name in ("spatial_layers", "temporal_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")

    def validate_snippets(self) -> None:
        """Refuse snippets that do not fit into the clip, and thresholds that are no probabilities."""
        for name in ("snippet_length", "snippet_stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.num_frames <= self.snippet_length:
            raise ValueError(
                f"`num_frames` must be larger than `snippet_length` ({self.snippet_length}), since the last frame has "
                f"no successor to differ from; got {self.num_frames}."
            )
        for name in ("snippet_confidence", "snippet_neutrality"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must be between 0 and 1, got {getattr(self, name)}.")
