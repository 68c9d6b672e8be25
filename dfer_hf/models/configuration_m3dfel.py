"""Configuration of M3DFEL with the intensity-aware loss."""

from huggingface_hub.dataclasses import strict

from .configuration_dfer import PrintedSize
from .configuration_r3d import R3dConfig


@strict
class M3dfelConfig(R3dConfig):
    """M3DFEL (Wang et al., CVPR 2023) with the intensity-aware loss of Li et al., AAAI 2023.

    The paper leaves open what follows, or contradicts its code; each choice names its ground.

    - Sizes of BiLSTM, attention and aggregation are those of the authors' code (TFace 171ec14, attribute/M3DFEL): the
      attention has no output projection, no residual and no norm before it.
    - ε stands under the root of the normalisation, as in the code; Eq. 1 adds it to the root.
    - The variance of an instance divides by N (Eq. 3). The code divides by N - 1, which is NaN at bag size 1, a row of
      Table 2, and its bag variance is then not Eq. 2's either; see `unbiased_variance`.
    - λ of Eq. 9 has no value in the paper; 0.1 is that of the loss's own code (IAL 39a24b6, main.py).
    - Label smoothing (Sec. 4.3) smooths the cross entropy only: Eq. 8 asks for one true class.
    - With label probabilities the intensity-aware loss is its mean over the classes, each as the true one, weighted
      by its probability; for one true class that is Eq. 7.
    - The intensity-aware loss belongs to the clip: instances carry no labels of their own.

    Args:
        bag_size: Instances of a clip, each of `num_frames / bag_size` frames; the rows of Table 2.
        lstm_hidden_size: Width of the LSTM in each direction.
        lstm_layers: Layers of the LSTM.
        num_attention_heads: Heads of the attention between instances; their widths add up to the BiLSTM's.
        unbiased_variance: Divide instance variances by N - 1, as the published code does; for its weights.
        label_smoothing: Part of the target that is spread evenly over all classes.
        lambda_intensity: Weight of the intensity-aware loss, λ of Eq. 9; 0 is the first row of Table 1.
    """

    model_type = "dfer_m3dfel"
    presets = {
        "paper": {},
        "small": R3dConfig.presets["small"] | {"lstm_hidden_size": 128, "num_attention_heads": 4},
        "tiny": R3dConfig.presets["tiny"] | {"lstm_hidden_size": 16, "num_attention_heads": 2},
    }
    printed = {
        "paper": PrintedSize(
            parameters=None,
            multiply_adds=1.65,
            note="figure of results in the authors' repository (TFace); it cannot be: R3D-18 alone takes 40.7, and no "
            "share of the model comes to 1.65",
        )
    }

    bag_size: int = 4
    lstm_hidden_size: int = 512
    lstm_layers: int = 2
    num_attention_heads: int = 8
    unbiased_variance: bool = False
    label_smoothing: float | int = 0.1
    lambda_intensity: float | int = 0.1

    def validate_bag(self) -> None:
        """Refuse bags that do not divide the clip, and the variance of a single instance over N - 1."""
        if self.bag_size < 1 or self.num_frames % self.bag_size:
            raise ValueError(
                f"`bag_size` must divide the clip of {self.num_frames} frames into equal instances, got "
                f"{self.bag_size}."
            )
        if self.unbiased_variance and self.bag_size == 1:
            raise ValueError("`unbiased_variance` must be False at `bag_size` 1: one instance has no such variance.")

    def validate_widths(self) -> None:
        """Refuse an LSTM without layers, and heads that do not divide its two directions."""
        if self.lstm_layers < 1 or self.lstm_hidden_size < 1:
            raise ValueError(
                f"`lstm_layers` and `lstm_hidden_size` must be at least 1, got {self.lstm_layers} and "
                f"{self.lstm_hidden_size}."
            )
        if self.num_attention_heads < 1 or 2 * self.lstm_hidden_size % self.num_attention_heads:
            raise ValueError(
                f"`num_attention_heads` must divide twice `lstm_hidden_size` ({2 * self.lstm_hidden_size}), got "
                f"{self.num_attention_heads}."
            )

    def validate_losses(self) -> None:
        """Refuse smoothing that leaves nothing of the target, and a negative weight."""
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"`label_smoothing` must be at least 0 and below 1, got {self.label_smoothing}.")
        if self.lambda_intensity < 0:
            raise ValueError(f"`lambda_intensity` must be at least 0, got {self.lambda_intensity}.")
