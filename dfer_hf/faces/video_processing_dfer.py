"""Face crops, or video files, to model input; copied to the Hub beside each checkpoint."""

import numpy as np
import torch
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import PILImageResampling
from transformers.processing_utils import Unpack, VideosKwargs
from transformers.video_processing_utils import BaseVideoProcessor
from transformers.video_utils import VideoInput, VideoMetadata

from .clip_crops import crop_largest_face, read_chosen_frames


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
        low_light: Whether dark faces were brightened before; only a prepared corpus has that done.
        frames_per_segment: V of the papers: of a file, `num_frames / V` runs of so many neighbouring frames are taken.
    """

    do_crop_faces: bool | None
    do_grayscale: bool
    alignment: str
    detector: str
    window_seconds: float
    low_light: bool
    frames_per_segment: int


class DferVideoProcessor(BaseVideoProcessor):
    """Scale and normalise clips of aligned faces; read and crop them first, where a video file is given.

    Everything a checkpoint's input went through stands in this processor's configuration: besides scaling and
    normalisation also the detector, the alignment and the sampling, which happen before it.

    Of a file, `num_frames` frames spread over the whole of it make one clip, and one person's face is cut out of them.
    `dfer_hf.VideoPredictor` does more: it sees every frame, in windows of `window_seconds`, and every person.
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
        if isinstance(first, str):
            kwargs.setdefault("do_sample_frames", True)
            kwargs["input_data_format"] = "channels_last"
            if kwargs.get("do_crop_faces", self.do_crop_faces) is None:
                kwargs["do_crop_faces"] = True
        return super().preprocess(videos, **kwargs)

    def fetch_videos(self, video_url_or_urls, sample_indices_fn=None):
        """Decode files with OpenCV, as the rest of the package does; transformers' own way wants FFmpeg installed.

        Raises:
            ValueError: If a path is an address of the web, or no frame can be decoded.
        """
        if isinstance(video_url_or_urls, list):
            fetched = [self.fetch_videos(path, sample_indices_fn) for path in video_url_or_urls]
            return [video for video, _ in fetched], [metadata for _, metadata in fetched]
        path = video_url_or_urls
        if "://" in path:
            raise ValueError(
                f"Expected the path of a video file, got the address {path!r}. Download it first."
            )

        def choose(num_frames: int, frames_per_second: float) -> np.ndarray:
            metadata = VideoMetadata(total_num_frames=num_frames, fps=frames_per_second)
            return (
                np.arange(num_frames) if sample_indices_fn is None else sample_indices_fn(metadata=metadata)
            )

        frames, indices = read_chosen_frames(path, choose)
        return frames, VideoMetadata(
            total_num_frames=len(frames), frames_indices=indices.tolist(), video_backend="opencv"
        )

    def sample_frames(
        self,
        metadata: VideoMetadata,
        num_frames: int | None = None,
        fps: int | float | None = None,
        **kwargs,
    ) -> np.ndarray:
        """Pick the middle run of neighbouring frames of each equal segment; frames repeat when the video is shorter."""
        if fps is not None:
            return super().sample_frames(metadata, num_frames=num_frames, fps=fps, **kwargs)
        num_frames, run = num_frames or self.num_frames, self.frames_per_segment
        if metadata.total_num_frames <= num_frames:
            run = 1
        segments, num_starts = np.arange(num_frames // run), metadata.total_num_frames - run + 1
        starts = (2 * segments + 1) * num_starts // (2 * len(segments))
        return np.sort((starts[:, None] + np.arange(run)).ravel())

    def _preprocess(
        self,
        videos: list[torch.Tensor],
        do_crop_faces: bool | None = None,
        do_grayscale: bool | None = None,
        **kwargs,
    ) -> BatchFeature:
        if do_crop_faces:
            if (kwargs.get("detector"), kwargs.get("alignment")) != ("mtcnn", "arcface_112"):
                raise ValueError(
                    "Expected a checkpoint whose faces are found by 'mtcnn' and aligned as 'arcface_112', got "
                    f"{kwargs.get('detector')!r} and {kwargs.get('alignment')!r}. Crop them yourself as it wants."
                )
            if self.low_light:
                raise ValueError(
                    "Expected a checkpoint that takes faces as they are, got one that wants dark ones brightened. "
                    "Prepare the clips with training/prepare.py --low-light."
                )
            videos = [_crop(video) for video in videos]
        for video in videos:
            if video.shape[-2] != video.shape[-1]:
                raise ValueError(
                    f"Expected clips of aligned face crops, which are square, got frames of height and width "
                    f"{tuple(video.shape[-2:])}. Pass `do_crop_faces=True` to have the face found and cut out."
                )
        if do_grayscale:
            videos = [to_luma(video) for video in videos]
        return super()._preprocess(videos, **kwargs)


def _crop(video: torch.Tensor) -> torch.Tensor:
    """Frames `(num_frames, 3, height, width)` to crops of the largest face, `(num_frames, 3, 112, 112)`."""
    frames = video.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return torch.from_numpy(crop_largest_face(frames)).permute(0, 3, 1, 2).to(video.device)
