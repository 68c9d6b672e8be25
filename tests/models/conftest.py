import json
from pathlib import Path

import pytest
import torch

import dfer_hf

TINY = Path(__file__).parent / "tiny"


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the models are too small to share
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def same_numbers_every_time():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny_config():
    """Build the small configuration of a system, `tiny/<system>.json`, with fields of the test's own."""

    def build(system, **fields):
        values = json.loads((TINY / f"{system}.json").read_text(encoding="utf-8"))
        return dfer_hf.systems()[system].config_class(**values | fields)

    return build


@pytest.fixture(scope="session")
def tiny_model(tiny_config):
    def build(system, **fields):
        torch.manual_seed(0)
        return dfer_hf.systems()[system](tiny_config(system, **fields)).eval()

    return build


@pytest.fixture(scope="session")
def random_clips():
    def draw(config, count=2, *, seed=1):
        generator = torch.Generator().manual_seed(seed)
        shape = (count, config.num_frames, config.num_channels, config.image_size, config.image_size)
        return torch.randn(shape, generator=generator)

    return draw
