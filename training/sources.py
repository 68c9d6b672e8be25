"""The training and validation batches a recipe names."""

from pathlib import Path

from dfer_hf.taxonomy import SEVEN_EMOTIONS, Emotion
from training.clips import StillClips
from training.config import TrainConfig
from training.datasets.ferplus import load_ferplus
from training.stills import StillSource

NEUTRAL = SEVEN_EMOTIONS.index(Emotion.NEUTRAL)
VALIDATION_CLIPS = 150


def build_sources(
    config: TrainConfig, data_root: Path
) -> tuple[StillSource, StillSource] | tuple[StillClips, StillClips]:
    """Read the recipe's data and return its training and validation sources.

    Raises:
        ValueError: If the recipe names data that is not known.
    """
    if config.data not in ("ferplus_stills", "ferplus_clips"):
        raise ValueError(f"Expected `data` to be ferplus_stills or ferplus_clips, got {config.data!r}.")
    stills = StillSource(load_ferplus(data_root, "train"), balance=config.balance)
    validation = load_ferplus(data_root, "valid")
    if config.data == "ferplus_stills":
        return stills, StillSource(validation)
    every = max(1, len(validation) // VALIDATION_CLIPS)
    thinned = StillSource(validation.subset(range(0, len(validation), every)))
    return (
        StillClips(stills, neutral_label=NEUTRAL),
        StillClips(thinned, neutral_label=NEUTRAL, off_target_share=0.5),
    )
