"""Face crops, or video files, to model input; copied to the Hub beside each checkpoint."""

import os
from functools import cache
from typing import Any

import numpy as np
import torch
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import PILImageResampling
from transformers.processing_utils import Unpack, VideosKwargs
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoInput, VideoMetadata

from ..models.hub_code import SavedWithCode
from ..video.reader import Frame, read_frames
from ..video.sampling import Sampling
from .crop_stream import DETECT_EVERY_SECONDS, WORKING_SIDE, crop_main_face
from .detection import MtcnnFaceDetector


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
        do_crop_faces: Find the largest face and cut it out first. Left out, files are cropped and arrays are not:
            those are taken for aligned crops, which are square.
        do_grayscale: Reduce the colours to one luma in all three channels, as a model trained on grey faces needs.
        alignment: How faces were cropped; `arcface_112` is five points on the 112×112 template.
        detector: What found the faces and their points.
        window_seconds: Time a clip of `num_frames` spans; longer videos are answered window by window.
        low_light: Whether dark faces are brightened when they are cut out.
        frames_per_segment: V of the papers: of a file, `num_frames / V` runs of so many neighbouring frames are taken.
        every_frame: Whether all frames of a file are taken, as by systems that learnt from single ones.
    """

    do_crop_faces: bool | None
    do_grayscale: bool
    alignment: str
    detector: str
    window_seconds: float
    low_light: bool
    frames_per_segment: int
    every_frame: bool


class DferVideoProcessor(SavedWithCode, BaseVideoProcessor):
    """Scale and normalise clips of aligned faces; read and crop them first, where a video file is given.

    Everything a checkpoint's input went through stands in this processor's configuration: besides scaling and
    normalisation also the detector, the alignment and the sampling, which happen before it.

    Of a file, `num_frames` of the frames that show its main face, spread over the whole of it, make one clip. It is
    the clip that evaluation looks at, and the answer that `dfer_hf.VideoPredictor` gives to a video of one window.
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
    do_crop_faces = None
    do_grayscale = False
    num_frames = 16
    alignment = "arcface_112"
    detector = "mtcnn"
    window_seconds = 4.0
    low_light = False
    frames_per_segment = 1
    every_frame = False
    valid_kwargs = DferVideoProcessorKwargs
    model_input_names = ["pixel_values_videos"]

    def preprocess(self, videos: VideoInput, **kwargs: Unpack[DferVideoProcessorKwargs]) -> BatchFeature:
        """Turn clips of face crops, or video files, into `pixel_values_videos`.

        Args:
            videos: A clip or a list of clips: uint8 arrays `(num_frames, height, width, 3)` or tensors
                `(num_frames, channels, height, width)`, or paths of video files.
            **kwargs: Settings that differ from the checkpoint's.

        Returns:
            `pixel_values_videos`, float of shape `(batch, num_frames, 3, size, size)`.

        Raises:
            ValueError: If crops are not square, a file cannot be read, or no face is found in it.
            ImportError: If a face has to be found, and facenet-pytorch is not installed.
        """
        first = videos[0] if isinstance(videos, list) and videos else videos
        if isinstance(first, str | os.PathLike):
            paths: Any = videos if isinstance(videos, list) else [videos]
            sampling = self._sampling(kwargs.pop("num_frames", None) or self.num_frames)
            crop = kwargs.get("do_crop_faces", self.do_crop_faces) is not False
            videos = [self._read_clip(path, sampling, crop=crop) for path in paths]
            kwargs |= {"input_data_format": "channels_last", "do_sample_frames": False, "do_crop_faces": False}
        return super().preprocess(videos, **kwargs)

    @property
    def sampling(self) -> Sampling:
        """Which frames the model looks at: the rule of training, evaluation, files and `VideoPredictor`."""
        return self._sampling(self.num_frames)

    def _sampling(self, num_frames: int) -> Sampling:
        run = self.frames_per_segment
        return Sampling(num_frames // run, run, every_frame=self.every_frame)

    def sample_frames(self, metadata: VideoMetadata, num_frames: int | None = None, **kwargs) -> np.ndarray:
        """Pick the frames of a clip that is given whole; frames repeat when it is shorter."""
        if kwargs.get("fps") is not None:
            return super().sample_frames(metadata, num_frames=num_frames, **kwargs)
        return self._sampling(num_frames or self.num_frames).indices(metadata.total_num_frames)

    def _read_clip(self, path: str | os.PathLike, sampling: Sampling, *, crop: bool) -> np.ndarray:
        """Frames of a file for the model, uint8 `(num_frames, height, width, 3)`: of its main face, or whole."""
        if not crop:
            frames = [frame.rgb for frame in read_frames(path, max_side=WORKING_SIDE)]
            return np.stack(frames)[sampling.indices(len(frames))]
        self._check_crops_are_ours()
        return crop_main_face(
            lambda: read_frames(path, max_side=WORKING_SIDE),
            lambda seen: seen[sampling.indices(len(seen))],
            _mtcnn(),
            low_light=self.low_light,
        )

    def _check_crops_are_ours(self) -> None:
        if (self.detector, self.alignment) != ("mtcnn", "arcface_112"):
            raise ValueError(
                "Expected a checkpoint whose faces are found by 'mtcnn' and aligned as 'arcface_112', got "
                f"{self.detector!r} and {self.alignment!r}. Crop them yourself as it wants."
            )

    def _preprocess(
        self, videos: list[torch.Tensor], do_crop_faces: bool | None = None, do_grayscale: bool | None = None, **kwargs
    ) -> BatchFeature:
        if do_crop_faces:
            self._check_crops_are_ours()
            videos = [self._crop(video) for video in videos]
        for video in videos:
            if video.shape[-2] != video.shape[-1]:
                raise ValueError(
                    f"Expected clips of aligned face crops, which are square, got frames of height and width "
                    f"{tuple(video.shape[-2:])}. Pass `do_crop_faces=True` to have the face found and cut out."
                )
        if do_grayscale:
            videos = [to_luma(video) for video in videos]
        return super()._preprocess(videos, **kwargs)

    def resize(self, image: torch.Tensor, size: Any, resample: Any = None, **kwargs) -> torch.Tensor:
        """Resize frames as transformers does, to the same pixels on every processor.

        torchvision rounds whole numbers on processors with AVX2 and passes through floats on others; until its version
        0.23, which belongs to torch 2.8, also on those with AVX-512. Pixels then differ by a level.
        """
        is_native = image.device.type == "cpu" and image.dtype == torch.uint8 and size.height and size.width
        if not is_native or resample != PILImageResampling.BILINEAR or image.shape[-2:] == (size.height, size.width):
            return super().resize(image, size, resample=resample, **kwargs)
        pictures = image.reshape(-1, *image.shape[-3:])
        resized = torch.nn.functional.interpolate(
            pictures, (size.height, size.width), mode="bilinear", align_corners=False, antialias=True
        )
        return resized.reshape(*image.shape[:-2], size.height, size.width)

    def _crop(self, video: torch.Tensor) -> torch.Tensor:
        """Frames `(num_frames, 3, height, width)` to crops of the main face, `(num_frames, 3, 112, 112)`.

        Faces are searched in every frame, as nobody knows how far apart they are; one without the face shows the
        nearest crop.
        """
        pictures = video.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        places = np.arange(len(pictures))[:, None]
        frames = [Frame(index, index * DETECT_EVERY_SECONDS, rgb) for index, rgb in enumerate(pictures)]
        crops = crop_main_face(
            lambda: frames, lambda seen: seen[np.abs(seen - places).argmin(axis=1)], _mtcnn(), low_light=self.low_light
        )
        return torch.from_numpy(crops).permute(0, 3, 1, 2).to(video.device)


@cache
def _mtcnn() -> MtcnnFaceDetector:
    return MtcnnFaceDetector()
