"""Configuration of AEN."""

from dataclasses import field

from huggingface_hub.dataclasses import strict

from .configuration_frame_resnet import FrameResNetConfig

LOSS_TERMS = ("cross_entropy", "multi_class", "temporal", "global")


@strict
class AenConfig(FrameResNetConfig):
    """The affectivity extraction network of Lee et al., CVPRW 2023; the defaults are the paper's best.

    The paper leaves open what follows; each choice names its ground.

    - Stages 2, 3 and 4 of the ResNet are the low, middle and high level: Sec. 3.1 wants `C_0 < C_1 < C_2`.
    - Squeeze is a 1×1 convolution that keeps the width, then the mean over the map (SENet's squeeze): Sec. 3.1 says
      "point-wise convolution and flattening", and flattening a map would break `C_{s-1} < C_s`.
    - The temporal transformers are Former-DFER's, which Sec. 4.3 takes as the baseline: depth 3, 8 heads of 64,
      perceptron twice as wide as the level, and the class token as `V_s`.
    - Both S2ACs work at the width of the highest level, to which Sec. 3.1 expands the lower ones.
    - Eq. 1 divides the products by √C of level 2 - a, whose vector is expanded before it enters: ours is the root of
      the width it then has, by which dot products are scaled elsewhere; `converter_scale="level"` takes the width it
      had, so that the softmax is sharper by √2 at a = 1 and by 2 at a = 2.

    Args:
        alpha: Weight of the local against the global classifier (Eq. 3, Fig. 3).
        beta: Weight of each affective level in the global loss, coarse then fine (Eq. 5).
        lambda_temporal: Weight of the temporal loss, λ1 of Eq. 6.
        lambda_global: Weight of the global loss, λ2 of Eq. 6.
        loss_terms: Which of `cross_entropy` (fine level only), `multi_class`, `temporal` and `global` are summed;
            the rows of Table 1.
        temporal_reduction: `sum` is the norm of Eq. 4 as printed; `mean` divides it by the width of the level.
        temporal_layers: Layers of each temporal transformer.
        temporal_heads: Attention heads of each.
        temporal_head_dim: Width of a head.
        temporal_mlp_ratio: Width of the perceptron over the width of the level.
        converter_scale: Width of Eq. 1's root: that of the `expanded` vector, or of its `level`.
        groups: The emotion grouping; the rows of Table 2.
    """

    model_type = "dfer_aen"
    presets = {
        "paper": {},
        "small": {"hidden_sizes": [32, 64, 128, 256], "temporal_reduction": "mean"},
        "tiny": FrameResNetConfig.presets["tiny"]
        | {"temporal_layers": 2, "temporal_heads": 2, "temporal_head_dim": 8},
    }

    alpha: float | int = 0.7
    beta: list[float] = field(default_factory=lambda: [1.4, 0.6])
    lambda_temporal: float | int = 0.4
    lambda_global: float | int = 0.5
    loss_terms: list[str] = field(default_factory=lambda: ["multi_class", "temporal", "global"])
    temporal_reduction: str = "sum"
    temporal_layers: int = 3
    temporal_heads: int = 8
    temporal_head_dim: int = 64
    temporal_mlp_ratio: int = 2
    converter_scale: str = "expanded"

    def validate_converters(self) -> None:
        """Refuse an unknown scale of Eq. 1."""
        if self.converter_scale not in ("expanded", "level"):
            raise ValueError(f"`converter_scale` must be 'expanded' or 'level', got {self.converter_scale!r}.")

    def validate_losses(self) -> None:
        """Refuse unknown loss terms and weights of the wrong number."""
        unknown = [term for term in self.loss_terms if term not in LOSS_TERMS]
        if unknown or not self.loss_terms:
            raise ValueError(f"`loss_terms` must be some of {list(LOSS_TERMS)}, got {self.loss_terms}.")
        if self.temporal_reduction not in ("sum", "mean"):
            raise ValueError(f"`temporal_reduction` must be 'sum' or 'mean', got {self.temporal_reduction!r}.")
        if len(self.beta) != 2:
            raise ValueError(f"`beta` must have one weight for each of the two affective levels, got {self.beta}.")
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"`alpha` must be between 0 and 1, got {self.alpha}.")
