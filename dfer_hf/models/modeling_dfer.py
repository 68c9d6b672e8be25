"""What every system's model shares: its output, its checks and its first weights."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ModelOutput

from .configuration_dfer import DferConfig


@dataclass
class DferOutput(ModelOutput):
    """What a system says of a batch of clips.

    Args:
        loss: The paper's whole loss, a scalar; given with `labels`.
        logits: Fine classes, `(batch, num_labels)`; their softmax is the probabilities.
        coarse_logits: Log-probabilities of the groups, `(batch, num_groups)`.
        frame_logits: What the system says of each frame, `(batch, num_frames, num_labels)`.
        frame_weights: How much each frame counted, `(batch, num_frames)`; sums to 1.
        frame_movements: How far each of the configuration's `blendshape_names` went in each frame, from 0 to 1,
            `(batch, num_frames, num_blendshapes)`; None where the system learnt none.
        loss_parts: The terms of the loss by name, scalars before their weights.
        hidden_states: As in transformers.
        attentions: As in transformers.
    """

    loss: torch.Tensor | None = None
    # Every system sets them; the default is what transformers asks of all fields but one.
    logits: torch.Tensor = None  # pyright: ignore[reportAssignmentType]
    coarse_logits: torch.Tensor | None = None
    frame_logits: torch.Tensor | None = None
    frame_weights: torch.Tensor | None = None
    frame_movements: torch.Tensor | None = None
    loss_parts: dict[str, torch.Tensor] | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


class StridedPointwise(nn.Conv2d):
    """A 1×1 convolution that skips pixels before it convolves: the same answer, and gradients that can be trusted.

    Of fewer channels than a vector register holds, 8 with AVX2 and 16 with AVX-512, oneDNN's own gradient writes past
    its workspace where channels come last in memory: weights get wrong gradients, or the process hangs or dies
    (https://github.com/uxlfoundation/oneDNN/issues/6035, in the oneDNN 3.12 of torch 2.14).
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve every `stride`-th pixel of maps `(n, channels, h, w)`."""
        pixels = input[..., :: self.stride[0], :: self.stride[1]]
        return nn.functional.conv2d(pixels, self.weight, self.bias, groups=self.groups)


def use_strided_pointwise(model: nn.Module) -> None:
    """Turn strided 1×1 convolutions of few channels into `StridedPointwise`, with the weights they have."""
    for module in model.modules():
        if type(module) is nn.Conv2d and module.in_channels // module.groups < 16:
            is_pointwise = module.kernel_size == (1, 1) and module.padding == (0, 0)
            if is_pointwise and module.stride != (1, 1):
                module.__class__ = StridedPointwise


def use_channels_last(model: nn.Module) -> None:
    """Store the weights of 2D convolutions with their channels last, which is a fifth faster on CPUs.

    Narrow convolutions would get wrong gradients so: `StridedPointwise` guards those of our models.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)


class DferPreTrainedModel(PreTrainedModel):
    """Checks of the input, sums over groups, and the first value of every parameter and buffer.

    `takes_any_length` says whether clips may have another number of frames than the configuration's,
    `reads_every_frame` whether the paper shows the system every frame of a video, in order, and `sees_frames_apart`
    whether it encodes every frame by itself before it looks at them together, in `encode_frames` and `answer_encoded`.

    Explanations look at named parts: `evidence_layer`, whose maps of each frame show the places that count;
    `last_map_layer`, the last with such maps where it is another; and `spatial_attention`, whose layers relate the
    places of one frame, where there is such a part. `map_method` draws heat maps where no method is named: the
    one that beat the maps of other clips most surely where the shipped checkpoint was measured.
    """

    takes_any_length = False
    sees_frames_apart = False
    evidence_layer: str
    last_map_layer: str | None = None
    spatial_attention: str | None = None
    map_method = "layercam"
    reads_every_frame = False

    config: DferConfig
    config_class = DferConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values_videos"
    input_modalities = "video"
    supports_gradient_checkpointing = True
    # The loss is a mean over the batch: `Trainer` divides it when it accumulates gradients.
    accepts_loss_kwargs = False

    def __init__(self, config: DferConfig) -> None:
        # Fields may have changed since it was made.
        config.validate()
        super().__init__(config)

    def post_init(self) -> None:
        """Finish as transformers does, and keep oneDNN from spoiling gradients; see `StridedPointwise`."""
        super().post_init()
        use_strided_pointwise(self)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.RNNBase | nn.RNNCellBase):
            uniform_as_torch(module)

    def decide(self, logits: torch.Tensor) -> torch.Tensor:
        """Answer with one class, as `config.coarse_first` says; see the function of this name."""
        return decide(logits, self.config.group_of_label, coarse_first=self.config.coarse_first)

    def get_input_embeddings(self) -> None:
        """Say that there are none: clips hold no tokens."""

    def check_records(self, asked: Mapping[str, Any]) -> None:
        """Refuse to record hidden states and attentions, asked for in `forward` or by the configuration.

        Every system calls it that has no layers to record, which `_can_record_outputs` would name.
        """
        for name in ("output_hidden_states", "output_attentions"):
            if asked.get(name, getattr(self.config, name, False)):
                raise ValueError(
                    f"Expected no `{name}`, which {type(self).__name__} does not record. Read `frame_logits` and "
                    f"`frame_weights`, or hook the layer {self.evidence_layer!r}."
                )

    def group_matrix(self) -> torch.Tensor:
        """Membership of the fine classes in the groups, `(num_groups, num_labels)` of zeros and ones."""
        labels, groups = self.config.label_names, self.config.groups.values()
        rows = [[float(label in members) for label in labels] for members in groups]
        return torch.tensor(rows, device=self.device, dtype=torch.float32)

    def sum_groups(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Sum fine probabilities `(batch, num_labels)` into `(batch, num_groups)`.

        Not a matrix product: autocast would round that to half precision.
        """
        return (probabilities[:, None] * self.group_matrix()).sum(dim=-1)

    def log_groups(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn fine logits `(batch, num_labels)` into log-probabilities of the groups, `(batch, num_groups)`."""
        tiny = torch.finfo(torch.float32).tiny
        return self.sum_groups(logits.softmax(dim=-1)).clamp_min(tiny).log()

    def encode_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Encode each frame of `(batch, num_frames, channels, height, width)` by itself.

        A long video is encoded a part at a time, and `answer_encoded` takes the parts together: the answer is the
        same. It is also encoded once to be answered many times, such as without some of its frames.

        Returns:
            Whatever the system needs of each frame, `(batch, num_frames, features)`.

        Raises:
            ValueError: If the system looks at several frames together from the start.
        """
        raise ValueError(
            f"Expected a system that sees its frames apart, but {type(self).__name__} sees {self.config.num_frames} "
            f"together; got {pixel_values_videos.shape[1]}. Call the model itself with clips of that many."
        )

    def answer_encoded(
        self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None, frames_per_second: float | None = None
    ) -> DferOutput:
        """Answer as `forward` does, from what `encode_frames` returned for all frames.

        Args:
            encoded: What each frame says by itself, `(batch, num_frames, features)`.
            labels: As in `forward`.
            frames_per_second: Of the clips, for systems that look at stretches of time; their own rate where left out.

        Raises:
            ValueError: If the system looks at several frames together from the start.
        """
        del labels, frames_per_second
        return DferOutput(logits=self.encode_frames(encoded))

    def answer_rearranged(self, pixel_values_videos: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Answer clips that are made of the frames of others, such as to replace some of them.

        Args:
            pixel_values_videos: The others, `(batch, num_frames, channels, height, width)`.
            places: Which frame of theirs is where, `(variants, frames)`.

        Returns:
            Logits, `(batch, variants, num_labels)`.
        """
        clips = pixel_values_videos[:, places]
        return self(pixel_values_videos=clips.flatten(0, 1)).logits.unflatten(0, clips.shape[:2])

    def check_pixel_values(self, pixel_values_videos: torch.Tensor) -> None:
        """Refuse clips the model was not made for.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.

        Raises:
            ValueError: If the shape differs from the configuration, or a value is not finite.
        """
        config, shape = self.config, tuple(pixel_values_videos.shape)
        frames = "num_frames" if self.takes_any_length else config.num_frames
        expected = f"(batch, {frames}, {config.num_channels}, {config.image_size}, {config.image_size})"
        fits = len(shape) == 5 and shape[2:] == (config.num_channels, config.image_size, config.image_size)
        fits = fits and shape[0] >= 1 and shape[1] >= 1
        if not fits or not (self.takes_any_length or shape[1] == config.num_frames):
            raise ValueError(
                f"Expected `pixel_values_videos` of shape {expected}, got {shape}. "
                "Sample and process the clip with the checkpoint's own video processor."
            )
        has_values = not torch.compiler.is_compiling() and not pixel_values_videos.is_meta
        if has_values and not torch.isfinite(pixel_values_videos).all():
            raise ValueError(
                "Expected finite `pixel_values_videos`, got NaN or infinity. Check how the clip was read and scaled."
            )

    def check_labels(self, labels: torch.Tensor, batch_size: int) -> None:
        """Refuse labels that are neither class indices `(batch,)` nor probabilities `(batch, num_labels)`.

        Raises:
            ValueError: If the shape is another, or an index stands for no class.
        """
        num_labels = len(self.config.label_names)
        if labels.is_floating_point():
            if tuple(labels.shape) != (batch_size, num_labels):
                raise ValueError(
                    f"Expected label probabilities of shape ({batch_size}, {num_labels}), got {tuple(labels.shape)}."
                )
            return
        if tuple(labels.shape) != (batch_size,):
            raise ValueError(f"Expected one label index per clip, shape ({batch_size},), got {tuple(labels.shape)}.")
        if not torch.compiler.is_compiling() and ((labels < 0) | (labels >= num_labels)).any():
            raise ValueError(
                f"Expected label indices from 0 to {num_labels - 1}, got {labels.min().item()} to "
                f"{labels.max().item()}. Map the corpus' labels by name through `config.label2id`."
            )

    def label_distribution(self, labels: torch.Tensor, batch_size: int) -> torch.Tensor:
        """Turn label indices `(batch,)` into one-hot rows; leave probabilities `(batch, num_labels)` as they are.

        Raises:
            ValueError: If the labels are not what `check_labels` expects.
        """
        self.check_labels(labels, batch_size)
        if labels.is_floating_point():
            return labels
        return nn.functional.one_hot(labels, len(self.config.label_names)).float()

    def label_loss(self, logits: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor | None:
        """Cross entropy of the clips' logits `(batch, num_labels)` and their labels, or None without labels."""
        if labels is None:
            return None
        return cross_entropy(logits, self.label_distribution(labels, logits.shape[0]))


def uniform_as_torch(module: nn.Module) -> None:
    """Draw the weights and biases of a layer as torch does, which the authors' code leaves as they are."""
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        fan_in = module.hidden_size
    else:
        fan_in = module.get_parameter("weight")[0].numel()
    for parameter in module.parameters(recurse=False):
        init.uniform_(parameter, -(fan_in**-0.5), fan_in**-0.5)


def decide(logits: torch.Tensor, group_of_label: Sequence[int], *, coarse_first: bool) -> torch.Tensor:
    """Answer with one class.

    Args:
        logits: Of the fine classes, such as `logits` or `frame_logits`, `(..., num_labels)`.
        group_of_label: Index of the group of each class, such as `config.group_of_label`.
        coarse_first: Whether the most probable group is chosen first and then its most probable class. That can differ
            from the most probable class: a group of several shares its probability out among them.

    Returns:
        Class indices `(...,)`.
    """
    if not coarse_first:
        return logits.argmax(dim=-1)
    groups = torch.tensor(group_of_label, device=logits.device)
    # No selection by the mask, of whose size an exported graph knows nothing.
    others = [groups != group for group in range(max(group_of_label) + 1)]
    sums = [logits.masked_fill(other, -math.inf).logsumexp(dim=-1) for other in others]
    chosen = torch.stack(sums, dim=-1).argmax(dim=-1)
    return logits.masked_fill(groups != chosen[..., None], -math.inf).argmax(dim=-1)


def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy of logits and target probabilities, both `(..., num_labels)`, as a scalar."""
    return -(target * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
