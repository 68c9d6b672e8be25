"""The recurrent baselines: ResNet-18 over each frame, LSTM or GRU over time, classifier on the last state."""

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple

from .configuration_resnet_rnn import ResNetRnnConfig
from .modeling_dfer import DferOutput, DferPreTrainedModel
from .modeling_frame_resnet import build_trunk


class GateMaps(nn.Linear):
    """The linear maps to a cell's gates and candidate, side by side.

    It has a class of its own because its first weights differ from those of other linear layers.
    """

    def __init__(self, input_size: int, state_size: int, num_maps: int) -> None:
        super().__init__(input_size, num_maps * state_size)
        self.state_size = state_size


class RecurrentLayer(nn.Module):
    """One LSTM or GRU layer with torch's equations, written out because the frames' evidence lies in the gates."""

    def __init__(self, cell: str, input_size: int, state_size: int) -> None:
        super().__init__()
        self.cell, self.state_size = cell, state_size
        num_maps = {"lstm": 4, "gru": 3}[cell]
        self.from_frame = GateMaps(input_size, state_size, num_maps)
        self.from_state = GateMaps(state_size, state_size, num_maps)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Go through the frames.

        Both cells have a memory of which a gate keeps a share at each frame while something is written to it,
        `m_t = k_t m_{t-1} + w_t`: in an LSTM `k` is the forget gate, `w` input gate times candidate, and the state is
        `o_t tanh(m_t)`; in a GRU `k` is the update gate, `w` is `(1 - k_t)` times the candidate, and the state is
        the memory. The last memory is therefore the sum `Σ_t (Π_{s>t} k_s) w_t` of a part per frame.

        Args:
            features: One vector per frame, `(batch, num_frames, input_size)`.

        Returns:
            The states, `(batch, num_frames, state_size)`, and the part of each frame in the last state: its part in
            the memory times the last state over the last memory; same shape, float32, sums to the last state.
        """
        from_frames = self.from_frame(features).float()  # (batch, frames, maps·state)
        memory = state = from_frames.new_zeros(features.shape[0], self.state_size)
        states, all_kept, all_written = [], [], []
        for from_frame in from_frames.unbind(dim=1):
            from_state = self.from_state(state.to(features.dtype)).float()  # (batch, maps·state)
            if self.cell == "lstm":
                write, keep, candidate, show = (from_frame + from_state).chunk(4, dim=-1)
                kept, written = keep.sigmoid(), write.sigmoid() * candidate.tanh()
                memory = kept * memory + written
                state = show.sigmoid() * memory.tanh()
            else:
                frame_maps, state_maps = from_frame.chunk(3, dim=-1), from_state.chunk(3, dim=-1)
                reset = (frame_maps[0] + state_maps[0]).sigmoid()
                kept = (frame_maps[1] + state_maps[1]).sigmoid()
                written = (1 - kept) * (frame_maps[2] + reset * state_maps[2]).tanh()
                memory = state = kept * memory + written
            states.append(state)
            all_kept.append(kept)
            all_written.append(written)

        parts, survives = [], torch.ones_like(memory)
        for kept, written in zip(reversed(all_kept), reversed(all_written), strict=True):
            parts.append(survives * written)
            survives = survives * kept
        # An empty memory shows nothing.
        shown = state / torch.where(memory == 0, 1.0, memory)
        return (torch.stack(states, dim=1).to(features.dtype), torch.stack(parts[::-1], dim=1) * shown[:, None])


class ResNetRnnForVideoClassification(DferPreTrainedModel):
    """A ResNet over each frame, one recurrent layer over the clip, a linear classifier on its last state."""

    config: ResNetRnnConfig
    config_class = ResNetRnnConfig
    takes_any_length = True
    sees_frames_apart = True
    evidence_layer = "trunk.encoder.stages.3"
    supports_gradient_checkpointing = False  # transformers' ResNet has none

    def __init__(self, config: ResNetRnnConfig) -> None:
        super().__init__(config)
        self.trunk = build_trunk(config, ["stage4"])
        self.recurrent_layer = RecurrentLayer(config.cell, config.hidden_sizes[-1], config.state_size)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.state_size, len(config.label_names))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, GateMaps):
            # As torch's LSTM and GRU begin.
            bound = module.state_size**-0.5
            for parameter in module.parameters():
                init.uniform_(parameter, -bound, bound)

    @can_return_tuple
    def forward(self, pixel_values_videos: torch.Tensor, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Classify clips of any number of frames.

        Args:
            pixel_values_videos: Clips, `(batch, num_frames, channels, height, width)`.
            labels: Class indices `(batch,)` or probabilities `(batch, num_labels)`.

        Returns:
            The loss is the cross entropy. `frame_logits` are the classifier's on the state after each frame: the
            answer had the clip ended there. `frame_weights` are the shares of what each frame wrote to the memory and
            the later gates kept of it, as the classifier sees it.

        Raises:
            ValueError: If a shape, a label or a pixel value is not what the configuration says.
        """
        self.check_records(kwargs)
        self.check_pixel_values(pixel_values_videos)
        return self.answer_encoded(self.encode_frames(pixel_values_videos), labels=labels)

    def encode_frames(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """Features of each frame, `(batch, num_frames, C)`; see the base class."""
        features = self.trunk(pixel_values_videos.flatten(0, 1)).feature_maps[0]  # (batch·frames, C, h, w)
        return features.mean(dim=(2, 3)).unflatten(0, pixel_values_videos.shape[:2])

    def answer_encoded(self, encoded: torch.Tensor, *, labels: torch.Tensor | None = None, **kwargs) -> DferOutput:
        """Run the recurrent layer over the features, `(batch, num_frames, C)`; see the base class."""
        states, parts = self.recurrent_layer(encoded)  # each (batch, frames, state)
        frame_logits = self.classifier(self.dropout(states))  # (batch, frames, labels)
        logits = frame_logits[:, -1].float()

        loss = self.label_loss(logits, labels)
        return DferOutput(
            loss=loss,
            logits=logits,
            coarse_logits=self.log_groups(logits),
            frame_logits=frame_logits,
            frame_weights=self.weigh_frames(parts),
            loss_parts=None if loss is None else {"cross_entropy": loss.detach()},
        )

    @torch.no_grad()
    def weigh_frames(self, parts: torch.Tensor) -> torch.Tensor:
        """Say how much each frame moves the last answer, `(batch, num_frames)`, summing to 1.

        The classifier is linear: its logits are its bias and a sum over the parts of the last state. A frame weighs as
        much as its summand is long, without what it adds to all classes alike, which changes no probability.

        Args:
            parts: What each frame left in the last state, `(batch, num_frames, state_size)`.
        """
        # No matrix product: autocast would round it to half precision.
        votes = (parts[:, :, None] * self.classifier.weight.float()).sum(dim=-1)  # (batch, frames, labels)
        lengths = (votes - votes.mean(dim=-1, keepdim=True)).norm(dim=-1)
        # No vote at all: all frames weigh alike.
        lengths = lengths + torch.finfo(torch.float32).tiny
        return lengths / lengths.sum(dim=-1, keepdim=True)
