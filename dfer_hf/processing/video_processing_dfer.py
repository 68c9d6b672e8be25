"""Face crops to model input; copied to the Hub beside each checkpoint."""

import torch
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import PILImageResampling
from transformers.processing_utils import Unpack, VideosKwargs
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoInput


def to_luma(video: torch.Tensor) -> torch.Tensor:
    """Replace the colours of `(..., 3, height, width)` by their luma (BT.601) in all three channels.

    It rounds, where torchvision's conversion cuts off and makes every grey pixel one level darker.
    """
    red, green, blue = video.float().unbind(dim=-3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    luma = luma.to(video.dtype) if video.is_floating_point() else luma.round().to(video.dtype)
    return luma.unsqueeze(-3).expand(video.shape)


class DferVideoProcessorKwargs(VideosKwargs, total=False):
    """What the processor takes beyond transformers' own.

    Args:
        do_grayscale: Reduce the colours to one luma in all three channels, as a model trained on grey faces needs.
        alignment: How faces were cropped; `arcface_112` is five points on the 112×112 template.
        detector: What found the faces and their points.
        window_seconds: Time a clip of `num_frames` spans; longer videos are answered window by window.
    """

    do_grayscale: bool
    alignment: str
    detector: str
    window_seconds: float


class DferVideoProcessor(BaseVideoProcessor):
    """Scale and normalise clips of aligned faces.

    Everything a checkpoint's input went through stands in this processor's configuration: besides scaling and
    normalisation also the detector, the alignment and the sampling, which happen before it.
    """

    resample = PILImageResampling.BILINEAR
    size = {"height": 112, "width": 112}
    do_resize = True
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    image_mean = [0.5, 0.5, 0.5]
    image_std = [0.25, 0.25, 0.25]
    do_convert_rgb = True
    do_sample_frames = False
    do_grayscale = False
    num_frames = 16
    alignment = "arcface_112"
    detector = "mtcnn"
    window_seconds = 4.0
    valid_kwargs = DferVideoProcessorKwargs
    model_input_names = ["pixel_values_videos"]

    def preprocess(self, videos: VideoInput, **kwargs: Unpack[DferVideoProcessorKwargs]) -> BatchFeature:
        """Turn clips of face crops into `pixel_values_videos`.

        Args:
            videos: A clip or a list of clips: uint8 arrays `(num_frames, height, width, 3)` or tensors
                `(num_frames, channels, height, width)`.
            **kwargs: Settings that differ from the checkpoint's.

        Returns:
            `pixel_values_videos`, float of shape `(batch, num_frames, 3, size, size)`.
        """
        return super().preprocess(videos, **kwargs)

    def _preprocess(
        self, videos: list[torch.Tensor], do_grayscale: bool | None = None, **kwargs
    ) -> BatchFeature:
        if do_grayscale:
            videos = [to_luma(video) for video in videos]
        return super()._preprocess(videos, **kwargs)
