import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import dfer_hf
from dfer_hf.hub.export import export_repository
from dfer_hf.models.configuration_dfer import DferConfig
from dfer_hf.models.modeling_dfer import DferPreTrainedModel

from .loopback_hub import LoopbackHub

TOKENS = {"hf_secretofme": "me", "hf_secretofguest": "guest"}
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dfer_hf", "dfer_cli", "training"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import torch
torch.set_num_threads(1)
"""


def with_random_statistics(model: DferPreTrainedModel) -> DferPreTrainedModel:
    """Give every parameter and buffer a value of its own: what is shared with any fresh model proves nothing."""
    generator = torch.Generator().manual_seed(7)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point():
            tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.05)
    return model.eval()


def processor_of(config: DferConfig) -> dfer_hf.DferVideoProcessor:
    side = config.image_size
    return dfer_hf.DferVideoProcessor(size={"height": side, "width": side}, num_frames=config.num_frames)


@pytest.fixture(scope="session")
def models() -> dict[str, DferPreTrainedModel]:
    """A tiny model of every system."""
    torch.manual_seed(0)
    return {
        system: with_random_statistics(model_class(model_class.config_class.from_preset("tiny")))
        for system, model_class in dfer_hf.systems().items()
    }


@pytest.fixture(scope="session")
def repositories(models, tmp_path_factory) -> dict[str, Path]:
    """The exported folder of each of them."""
    folder = tmp_path_factory.mktemp("repositories")
    for system, model in models.items():
        export_repository(model, processor_of(model.config), folder / system)
    return {system: folder / system for system in models}


@pytest.fixture(scope="session")
def run_without_package(tmp_path_factory):
    """Runs code in a process that cannot import this package, offline and with an empty cache; returns its output."""

    def run(code: str, *arguments: object) -> str:
        home = tmp_path_factory.mktemp("home")
        done = subprocess.run(
            [sys.executable, "-I", "-c", BLOCKER + code, *map(str, arguments)],
            cwd=home,
            env={"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[LoopbackHub]:
    """A Hub on loopback that this process talks to, as the user `me`, with an empty cache."""
    with LoopbackHub() as hub:
        hub.users.update(TOKENS)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", "hf_secretofme")
        yield hub
