"""Configuration of the frame recogniser."""

from dataclasses import field

from huggingface_hub.dataclasses import strict

from .configuration_dfer import DferConfig


@strict
class FrameResNetConfig(DferConfig):
    """A ResNet that classifies each frame alone and averages over the clip.

    The defaults are ResNet-18 as AEN uses it for its 2D FER model (Sec. 4.3); `[32, 64, 128, 256]` is half its width.

    Args:
        hidden_sizes: Channels of the four stages; the first is also the stem's.
        depths: Residual blocks of the four stages.
        classifier_dropout: Dropout before the classifier, in training.
        blendshape_names: Movements of the face, as ARKit names them, whose strength a second head learns beside the
            classes; without names there is no such head.
        blendshape_weight: Of the cross entropy of the movements in the loss, averaged over the movements.
    """

    model_type = "dfer_frame_resnet"
    presets = {
        "paper": {},
        "small": {"hidden_sizes": [32, 64, 128, 256], "classifier_dropout": 0.2},
        "tiny": {"num_frames": 4, "image_size": 32, "hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]},
    }

    hidden_sizes: list[int] = field(default_factory=lambda: [64, 128, 256, 512])
    depths: list[int] = field(default_factory=lambda: [2, 2, 2, 2])
    classifier_dropout: float | int = 0.0
    blendshape_names: list[str] = field(default_factory=list)
    blendshape_weight: float | int = 5.0

    def validate_stages(self) -> None:
        """Refuse a different number of widths and depths than four."""
        if len(self.hidden_sizes) != 4 or len(self.depths) != 4:
            raise ValueError(
                f"`hidden_sizes` and `depths` must have four entries, got {self.hidden_sizes} and {self.depths}."
            )
