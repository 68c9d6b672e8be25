"""Configuration of the R3D-18 baseline."""

from dataclasses import field

from huggingface_hub.dataclasses import strict

from .configuration_dfer import DferConfig, PrintedSize


@strict
class R3dConfig(DferConfig):
    """R3D-18 (Tran et al. 2018) as torchvision builds it; the defaults are `torchvision.models.video.r3d_18`.

    Args:
        hidden_sizes: Channels of the four stages; the first is also the stem's.
        depths: Residual blocks of the four stages.
        temporal_strides: Steps in time of each stage's first block; in space they are always 1, 2, 2, 2. Where all
            are 1, the last map has a step for each frame.
    """

    model_type = "dfer_r3d"
    presets = {
        "paper": {},
        "small": {"hidden_sizes": [16, 32, 64, 128]},
        "tiny": {
            "num_frames": 4,
            "image_size": 32,
            "hidden_sizes": [8, 12, 16, 24],
            "depths": [1, 1, 1, 1],
            "temporal_strides": [1, 1, 1, 1],
        },
    }
    printed = {
        "paper": PrintedSize(
            parameters=33.37,
            multiply_adds=40.70,
            note="torchvision, R3D_18_Weights; its classifier has 400 classes, which are 0.20 M more than seven",
        )
    }

    hidden_sizes: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    depths: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    temporal_strides: list[int] = field(default_factory=lambda: [1, 2, 2, 2])

    def validate_stages(self) -> None:
        """Refuse another number of stages than four, and stages without channels, blocks or steps."""
        for name in ("hidden_sizes", "depths", "temporal_strides"):
            values = getattr(self, name)
            if len(values) != 4 or min(values) < 1:
                raise ValueError(f"`{name}` must have four entries of at least 1, got {values}.")
