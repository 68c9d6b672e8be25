"""What was pushed loads again: with the package, without it, in a pipeline, gated, offline, by `hf download`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file
from transformers import AutoModelForVideoClassification, pipeline

import dfer_hf
from dfer_hf.checkpoints import CheckpointError, load_checkpoint
from dfer_hf.hub.push import prepare_repository, upload_repository

from .conftest import BLOCKER, serving, write_checkpoint

ANSWER = """
import json
from safetensors.torch import load_file, save_file
from transformers import AutoModelForVideoClassification, AutoVideoProcessor, pipeline

inputs, outputs, still, *named = sys.argv[1:]
crops, answers = load_file(inputs), {}
for repo_id, revision in map(json.loads, named):
    options = {"revision": revision, "trust_remote_code": True}
    processor = AutoVideoProcessor.from_pretrained(repo_id, **options)
    model = AutoModelForVideoClassification.from_pretrained(repo_id, **options)
    for ours in (processor, model):
        assert type(ours).__module__.startswith("transformers_modules."), type(ours)
    with torch.no_grad():
        answers[repo_id] = model(**processor(crops[repo_id], return_tensors="pt")).logits
save_file(answers, outputs)
options = {"revision": revision, "trust_remote_code": True, "device": "cpu"}
print(json.dumps(pipeline("video-classification", model=repo_id, **options)(still, top_k=7)))
"""


@pytest.fixture(scope="module")
def served(models, tmp_path_factory):
    """A Hub to which a checkpoint of every system was pushed; all but the last, which is public, are gated."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder / "cache") as hub:
        for system, model in models.items():
            checkpoint = write_checkpoint(model, folder / system.replace("_", "-"))
            upload_repository(prepare_repository(str(checkpoint), "me", folder / f"prepared-{system}"))
        for repository in list(hub.repositories.values())[:-1]:
            repository.gated, repository.readers = True, {"guest"}
        yield hub


def new_process(hub, home, *command, **variables):
    """Run a command that knows nothing of this process but where the Hub is and where its cache lies."""
    known = {"PATH": os.environ["PATH"], "HOME": str(home), "OMP_NUM_THREADS": "1"}
    known |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(command, cwd=home, env=known | variables, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_every_system_answers_without_this_package_and_then_offline(served, models, tmp_path, clips):
    crops = {
        repo_id: torch.randint(256, (model.config.num_frames, 3, 112, 112), dtype=torch.uint8)
        for repo_id, model in zip(served.repositories, models.values(), strict=True)
    }
    save_file(crops, tmp_path / "crops.safetensors")
    named = [json.dumps([repo_id, served.repositories[repo_id].head]) for repo_id in crops]
    files = [tmp_path / "crops.safetensors", tmp_path / "answers.safetensors", clips / "still.png"]
    command = [sys.executable, "-I", "-c", BLOCKER + ANSWER, *map(str, files)]
    online = new_process(served, tmp_path, *command, *named, HF_TOKEN="hf_secretofguest")
    assert online.returncode == 0, online.stderr
    answers = load_file(tmp_path / "answers.safetensors")
    for (repo_id, crop), (system, model) in zip(crops.items(), models.items(), strict=True):
        loaded = load_checkpoint(repo_id, token="hf_secretofme")
        assert type(loaded.model) is type(model)
        with torch.no_grad():
            expected = loaded.model(**loaded.processor(crop, return_tensors="pt")).logits
        torch.testing.assert_close(answers[repo_id], expected, rtol=1e-4, atol=1e-5, msg=system)
    asked = len(served.requests)
    (tmp_path / "answers.safetensors").unlink()
    offline = new_process(served, tmp_path, *command, *named[-2:], HF_HUB_OFFLINE="1")
    assert offline.returncode == 0, offline.stderr
    assert offline.stdout == online.stdout
    assert torch.equal(load_file(tmp_path / "answers.safetensors")[repo_id], answers[repo_id])
    assert len(served.requests) == asked
    assert not served.leaked


@pytest.fixture
def pushed(hub, checkpoint, tmp_path):
    """The checkpoint `me/mine` on the Hub, and its commit."""
    upload_repository(prepare_repository(str(checkpoint), "me", tmp_path / "prepared"))
    return hub.repositories["me/mine"]


def test_a_revision_gives_the_weights_that_it_had(pushed, models, checkpoint, tmp_path):
    first = pushed.head
    changed = type(models["frame_resnet"])(models["frame_resnet"].config)
    write_checkpoint(changed, checkpoint)
    upload_repository(prepare_repository(str(checkpoint), "me", tmp_path / "again"))
    assert pushed.head != first
    weights = [load_checkpoint("me/mine", revision=revision).model.state_dict() for revision in (first, "main")]
    expected = [models["frame_resnet"], changed]
    for found, model in zip(weights, expected, strict=True):
        assert all(torch.equal(found[name], part.half().to(part.dtype)) for name, part in model.state_dict().items())
    with pytest.raises(CheckpointError, match="at 'v9'"):
        dfer_hf.VideoPredictor.from_pretrained("me/mine", revision="v9")


def test_a_gated_checkpoint_opens_to_a_token_that_was_granted_it(pushed):
    pushed.gated, pushed.readers = True, {"guest"}
    with pytest.raises(CheckpointError, match=r"a Hub repository that the token opens.*gated"):
        dfer_hf.VideoPredictor.from_pretrained("me/mine", token=False)
    with pytest.raises(OSError, match="gated repo"):
        AutoModelForVideoClassification.from_pretrained("me/mine", token=False)
    assert dfer_hf.VideoPredictor.from_pretrained("me/mine", token="hf_secretofguest")


def test_a_private_checkpoint_is_not_found_without_a_token(pushed):
    pushed.private = True
    with pytest.raises(CheckpointError, match="Repository Not Found"):
        dfer_hf.VideoPredictor.from_pretrained("me/mine", token=False)
    assert dfer_hf.VideoPredictor.from_pretrained("me/mine")


def test_what_was_loaded_once_loads_offline(pushed, hub, monkeypatch):
    online = load_checkpoint("me/mine").model.state_dict()
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for revision in ("main", pushed.head):
        offline = dfer_hf.VideoPredictor.from_pretrained("me/mine", revision=revision).model.state_dict()
        assert all(torch.equal(offline[name], tensor) for name, tensor in online.items())
    assert len(hub.requests) == asked
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        dfer_hf.VideoPredictor.from_pretrained("me/other")


@pytest.mark.usefixtures("pushed")
def test_the_stock_pipeline_answers_by_id(clips):
    answer = pipeline("video-classification", model="me/mine", device="cpu")(str(clips / "still.png"), top_k=7)
    expected = dfer_hf.VideoPredictor.from_pretrained("me/mine")(clips / "still.png").faces[0].fine.probabilities
    assert {entry["label"]: entry["score"] for entry in answer} == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_hf_download_fetches_the_folder(pushed, hub, tmp_path):
    command = [str(Path(sys.executable).with_name("hf")), "download", "me/mine", "--local-dir", "here"]
    done = new_process(hub, tmp_path, *command, HF_TOKEN="hf_secretofme")
    assert done.returncode == 0, done.stderr
    fetched = {path.name: path.read_bytes() for path in (tmp_path / "here").iterdir() if path.is_file()}
    assert fetched == pushed.files
    assert type(load_checkpoint(tmp_path / "here").model).__name__ == "FrameResNetForVideoClassification"
