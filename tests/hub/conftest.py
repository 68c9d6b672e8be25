import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import dfer_hf
from dfer_hf.hub.card import render_card
from dfer_hf.hub.export import export_checkpoint, export_repository
from dfer_hf.models.configuration_dfer import DferConfig
from dfer_hf.models.modeling_dfer import DferPreTrainedModel

from .loopback_hub import LoopbackHub

CARD = """---
license: apache-2.0
library_name: transformers
datasets: [ferplus]
base_model: dfer-first
---

# mine

It starts from [dfer-first](../dfer-first/README.md): `VideoPredictor.from_pretrained("mine")`.

<!-- figures -->
<!-- /figures -->
"""
SCORES = {
    "count": 70, "uar": 61.04, "uar_interval": [55.0, 66.0], "war": 70.0, "war_interval": [65.0, 75.0],
    "recall": {"happiness": 90.0, "fear": None}, "not_found": 2,
}  # fmt: skip
CONFIDENCE = {"count": 35, "ece": 3.21, "coverage": 89.9, "coverage_interval": [85.0, 94.0], "set_size": 1.234,
              "unsure": 20.0}  # fmt: skip
SHARE = SCORES | {
    "own_frames": 55.0, "recogniser": 54.0, "above_recogniser": {"points": 7.0, "interval": [-1.0, 9.0]},
    "frame_weight": {"on_target": 120.0, "off_target": None},
    "by_kind": {"covered": {"uar": 60.0, "recogniser": 51.0}},
}  # fmt: skip
EXPLANATION = {
    "insertion": 0.6, "deletion": 0.2, "difference": 0.4, "difference_interval": [0.3, 0.5],
    "of_another": 0.1, "of_another_interval": [0.0, 0.2], "half_again": True,
}  # fmt: skip
RESULTS = {
    "checkpoint": "tiny",
    "command": "make evaluate",
    "versions": {"torch": "2.14.1"},
    "benches": {
        "ferplus": {"rule": "valid split", "aligned": SCORES | {"confidence": CONFIDENCE}},
        "clips": {
            "rule": "few", "by_share": {"0%": SHARE, "50%": SHARE}, "length_and_rate": {"whole": 61.0},
            "confidence": CONFIDENCE,
        },
        "explanations": {
            "rule": "some", "count": 40, "places": {"layercam": EXPLANATION | {"random_weights": 0.2}},
            "frames": {"leaving out": EXPLANATION, "own weights": EXPLANATION | {"leaving_out": 0.4}},
        },
        "cost": {"parameters": 9_800_000, "megabytes": 19.6, "clip_over_plain": 2.04, "whole_way_over_plain": 1.2,
                 "cpu_seconds_of_video_second": 0.66, "explained_over_plain": 1.4, "peak_megabytes": 900},
    },
}  # fmt: skip
TOKENS = {"hf_secretofme": "me", "hf_secretofguest": "guest"}
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("dfer_hf", "dfer_cli", "dfer_inputs", "training"):
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


def write_checkpoint(model: DferPreTrainedModel, folder: Path) -> Path:
    """Write a checkpoint's folder with a card that shows its results, and a drawing."""
    export_checkpoint(model, processor_of(model.config), folder)
    cost = RESULTS["benches"]["cost"] | {"parameters": model.num_parameters()}
    results = RESULTS | {"checkpoint": folder.name, "benches": RESULTS["benches"] | {"cost": cost}}
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "README.md").write_text(render_card(CARD, results), encoding="utf-8")
    (folder / "noise.png").write_bytes(b"a drawing")
    return folder


@pytest.fixture
def checkpoint(models, tmp_path) -> Path:
    """Folder of a checkpoint named `mine`."""
    return write_checkpoint(models["frame_resnet"], tmp_path / "mine")


@contextmanager
def serving(cache: Path) -> Iterator[LoopbackHub]:
    """A Hub on loopback that this process talks to, as the user `me`."""
    with LoopbackHub() as hub, pytest.MonkeyPatch.context() as monkeypatch:
        hub.users.update(TOKENS)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        for name, value in {
            "ENDPOINT": hub.url,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + template,
            "HF_HUB_OFFLINE": False,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_CACHE": str(cache),
            "HF_TOKEN_PATH": str(cache / "token"),
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_secretofme")
        yield hub


@pytest.fixture
def hub(tmp_path) -> Iterator[LoopbackHub]:
    """A Hub on loopback that this process talks to, as the user `me`, with an empty cache."""
    with serving(tmp_path / "cache") as hub:
        yield hub


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """Seconds that this thread would have slept. Other threads sleep as ever: pages of other tests may have some."""
    seconds, here, sleep = [], threading.get_ident(), time.sleep
    monkeypatch.setattr(time, "sleep", lambda wait: (seconds.append if threading.get_ident() == here else sleep)(wait))
    return seconds
