"""Configuration of the recurrent baselines, ResNet-18 with LSTM or GRU."""

from huggingface_hub.dataclasses import strict

from .configuration_dfer import PrintedSize
from .configuration_frame_resnet import FrameResNetConfig

PRINTED_NOTE = (
    "NR-DFERNet's Tables 4 and 5, alike for LSTM and GRU. Ours are 7.77 G without and 7.78 G with a multiply-add for "
    "each value that a batch norm scales."
)


@strict
class ResNetRnnConfig(FrameResNetConfig):
    """A ResNet-18 over each frame and one recurrent layer over time, the baselines of the tables on DFEW and AFEW.

    No paper says more than the two names; each choice names its ground.

    - One layer of width 256, forwards only: counted as the 9.11 G of Former-DFER are (convolutions, linear maps,
      recurrent cells and batch norms), both cells then have the 7.78 G printed, and with no other power of two.
    - The classifier reads the last state.

    Args:
        cell: `lstm` or `gru`.
        state_size: Width of the recurrent state.
    """

    model_type = "dfer_resnet_rnn"
    presets = {
        "paper": {},
        "paper_gru": {"cell": "gru"},
        "small": FrameResNetConfig.presets["small"] | {"state_size": 128},
        "tiny": FrameResNetConfig.presets["tiny"] | {"state_size": 48},
    }
    printed = {"paper": PrintedSize(None, 7.78, PRINTED_NOTE), "paper_gru": PrintedSize(None, 7.78, PRINTED_NOTE)}

    cell: str = "lstm"
    state_size: int = 256

    def validate_recurrence(self) -> None:
        """Refuse unknown cells and states without width."""
        if self.cell not in ("lstm", "gru"):
            raise ValueError(f"`cell` must be 'lstm' or 'gru', got {self.cell!r}.")
        if self.state_size < 1:
            raise ValueError(f"`state_size` must be at least 1, got {self.state_size}.")
