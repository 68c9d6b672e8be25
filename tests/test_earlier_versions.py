"""Checkpoints of earlier versions load and answer as they did: `tests/saved/<version>/` holds a tiny one of each."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForVideoClassification

from dfer_hf.checkpoints import load_checkpoint

LOGITS = {"0.1.0": [-2.015860, -1.736574, -1.728226, -2.204994, -2.301523, -1.947789, -1.831796]}
"""What each answered to the crops below when it was saved."""


@pytest.mark.parametrize("version", LOGITS)
def test_a_checkpoint_of_an_earlier_version_answers_as_it_did(version):
    folder = Path(__file__).parent / "saved" / version
    loaded = load_checkpoint(folder)
    generator = torch.Generator().manual_seed(3)
    crops = torch.randint(256, (loaded.model.config.num_frames, 3, 112, 112), dtype=torch.uint8, generator=generator)
    clip = loaded.processor(crops, return_tensors="pt")
    for model in (loaded.model, AutoModelForVideoClassification.from_pretrained(folder)):
        with torch.no_grad():
            torch.testing.assert_close(model(**clip).logits[0], torch.tensor(LOGITS[version]), rtol=1e-4, atol=1e-4)
