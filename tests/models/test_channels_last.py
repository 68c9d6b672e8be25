"""Gradients do not depend on how maps lie in memory; in processes of their own, because wrong ones can end theirs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GRADIENTS = """
import copy
import torch
from dfer_hf.models.configuration_frame_resnet import FrameResNetConfig
from dfer_hf.models.modeling_frame_resnet import FrameResNetForVideoClassification

torch.manual_seed(0)
sizes = {"hidden_sizes": [4, 4, 4, 8], "image_size": 112, "num_frames": 8}
model = FrameResNetForVideoClassification(FrameResNetConfig.from_preset("tiny", **sizes)).train()
clips, labels = torch.randn(4, 8, 3, 112, 112), torch.arange(4)
gradients = []
for twin in (copy.deepcopy(model).double(), model.to(memory_format=torch.channels_last)):
    twin(pixel_values_videos=clips.to(twin.dtype), labels=labels).loss.backward()
    gradients.append({name: parameter.grad.double() for name, parameter in twin.named_parameters()})
for name, expected in gradients[0].items():
    error = (gradients[1][name] - expected).norm() / expected.norm()
    assert error < 0.05, f"{name}: {error:.1e}"
"""


@pytest.mark.parametrize("instructions", ["AVX2", "ALL"])
def test_narrow_networks_get_the_right_gradients_with_channels_last(instructions):
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    command = [sys.executable, "-c", GRADIENTS]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-500:]
