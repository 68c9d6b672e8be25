"""What is pushed to the Hub, what is sent a second time, and what is refused before anything is sent."""

import shutil

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, ModelCard, constants
from safetensors.torch import load_file, save_file

import dfer_hf
from dfer_hf.checkpoints import CheckpointError
from dfer_hf.hub.export import export_checkpoint
from dfer_hf.hub.push import (
    CardInvalidError,
    CardMissingError,
    HubRefusedError,
    LicenceMissingError,
    PushError,
    RepositoryTakenError,
    StaleCardError,
    TokenMissingError,
    collect,
    prepare_repository,
    upload_repository,
)

from .conftest import processor_of


@pytest.fixture
def push(checkpoint, tmp_path):
    """Pushes the checkpoint to `me`."""

    def run(target="me", **options):
        folder = tmp_path / "prepared"
        shutil.rmtree(folder, ignore_errors=True)
        return upload_repository(prepare_repository(str(checkpoint), target, folder), **options)

    return run


def change(folder, name, old, new):
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new), encoding="utf-8")


def test_a_repository_holds_exactly_what_it_should(hub, push, checkpoint, repositories):
    pushed = push()
    files = hub.repositories["me/mine"].files
    code = {path.name for path in repositories["frame_resnet"].glob("*.py")}
    data = {"config.json", "video_preprocessor_config.json", "model.safetensors", "README.md", "results.json"}
    assert files.keys() == {".gitattributes", "noise.png", *data, *code}
    assert sorted(pushed.sent) == sorted(files.keys() - {".gitattributes"})
    assert pushed.url == f"{hub.url}/me/mine"
    assert files["results.json"] == (checkpoint / "results.json").read_bytes()
    assert not [name for name, content in files.items() if str(checkpoint.parent).encode() in content]
    assert len(hub.repositories["me/mine"].commits) == 2, "all files are in one commit"


def test_a_card_speaks_of_the_hub(hub, push):
    push("me/other")
    card = ModelCard(hub.repositories["me/other"].files["README.md"].decode())
    assert card.data.base_model == "me/dfer-first"
    assert "[dfer-first](https://huggingface.co/me/dfer-first)" in card.text
    assert 'from_pretrained("me/other")' in card.text
    assert card.data.eval_results[0].metric_value == pytest.approx(0.70)


def test_nothing_is_sent_twice(hub, push, checkpoint):
    push()
    commits, asked = dict(hub.repositories["me/mine"].commits), len(hub.requests)
    assert (push().sent, push().deleted) == ([], [])
    assert hub.repositories["me/mine"].commits == commits
    assert not [request for request in hub.requests[asked:] if request.startswith("PUT") or "/commit/" in request]
    (checkpoint / "noise.png").write_bytes(b"another drawing")
    assert push().sent == ["noise.png"]


def test_a_push_that_was_interrupted_goes_on(hub, push):
    hub.refuse("POST .*/commit/", 503)
    with pytest.raises(HubRefusedError, match="Run the command again"):
        push()
    assert len(hub.asked("PUT /storage/")) == 1
    push()
    assert len(hub.asked("PUT /storage/")) == 1, "the weights were stored before"
    assert "model.safetensors" in hub.repositories["me/mine"].files


def test_what_an_earlier_version_left_is_deleted_and_what_others_put_there_is_not(hub, push, checkpoint):
    push()
    HfApi().upload_file(path_or_fileobj=b"old", path_in_repo="modeling_old.py", repo_id="me/mine")
    HfApi().upload_file(path_or_fileobj=b"new", path_in_repo="LICENSE", repo_id="me/mine")
    (checkpoint / "noise.png").unlink()
    pushed = push()
    assert (sorted(pushed.deleted), pushed.left_alone) == (["modeling_old.py", "noise.png"], ["LICENSE"])
    assert {"modeling_old.py", "noise.png"}.isdisjoint(hub.repositories["me/mine"].files)


def test_a_limit_on_requests_is_waited_for(hub, push, waits):
    for request in ("repos/create", "/commit/", "validate-yaml", "/preupload/"):
        hub.refuse(request, 429, times=2)
    push()
    assert waits == [2] * 8
    hub.refuse("repos/create", 429, times=6)
    with pytest.raises(HubRefusedError, match="429"):
        push()


def test_a_collection_holds_what_was_pushed(hub, push):
    for _ in range(2):
        push()
        url = collect(["me/mine"], "me")
    (slug,) = hub.collections
    assert url == f"{hub.url}/collections/{slug}"
    assert [item["id"] for item in hub.collections[slug]["items"]] == ["me/mine"]


def test_a_private_push_never_goes_to_a_public_repository(hub, push):
    push(private=True)
    assert hub.repositories["me/mine"].private
    hub.repositories["me/mine"].private = False
    with pytest.raises(RepositoryTakenError, match="public"):
        push(private=True)


@pytest.mark.usefixtures("hub")
def test_a_repository_that_is_something_else_is_not_overwritten(push):
    HfApi().create_repo("me/mine")
    HfApi().upload_file(path_or_fileobj=b"{}", path_in_repo="config.json", repo_id="me/mine")
    with pytest.raises(RepositoryTakenError, match=r"config\.json.*another name"):
        push()


def test_without_a_token_and_with_one_for_other_namespaces_nothing_is_sent(hub, push, monkeypatch):
    with pytest.raises(HubRefusedError, match="403"):
        push("you")
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    with pytest.raises(HubRefusedError) as refused:
        push()
    assert "hf_unknown" not in str(refused.value)
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(TokenMissingError, match="hf auth login"):
        push()
    assert not hub.repositories


@pytest.mark.usefixtures("hub")
def test_a_hub_that_is_away_is_named(push, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(HubRefusedError, match="Run the command again"):
        push()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubRefusedError, match="offline"):
        push()


@pytest.mark.parametrize(
    ("file", "old", "new", "error", "said"),
    [
        ("README.md", "license: apache-2.0\n", "", LicenceMissingError, "license"),
        ("README.md", "61.0 (55.0", "71.0 (55.0", StaleCardError, "make cards"),
        ("README.md", "value: 0.6104", "value: 0.7104", StaleCardError, "make cards"),
        ("results.json", "61.04", "62.04", StaleCardError, "make cards"),
        (
            "results.json",
            '"checkpoint": "mine"',
            '"checkpoint": "yours"',
            StaleCardError,
            "push them as NAMESPACE/yours",
        ),
        ("results.json", '"parameters": ', '"parameters": 9', StaleCardError, "Measure it again"),
        ("README.md", "license: apache-2.0", "license: {", CardInvalidError, "makes no sense"),
        ("README.md", "- ferplus", "- lfw", CardInvalidError, "whose licence is known"),
        ("results.json", '"checkpoint"', "checkpoint", CardInvalidError, "makes no sense"),
        ("results.json", '"checkpoint": "mine"', '"checkpoint": 7', StaleCardError, "of 'mine' in"),
        ("results.json", '"benches"', '"benchez"', CardInvalidError, "benches"),
        ("config.json", '"num_frames": ', '"num_framez": ', CheckpointError, "num_framez"),
    ],
)
def test_what_must_not_be_published_is_refused(checkpoint, tmp_path, file, old, new, error, said):
    change(checkpoint, file, old, new)
    with pytest.raises(error, match=said):
        prepare_repository(str(checkpoint), "me", tmp_path / "prepared")


@pytest.mark.parametrize(("name", "error"), [("README.md", CardMissingError), ("results.json", StaleCardError)])
def test_what_is_missing_is_named(checkpoint, tmp_path, name, error):
    (checkpoint / name).unlink()
    with pytest.raises(error, match=name):
        prepare_repository(str(checkpoint), "me", tmp_path / "prepared")


@pytest.mark.parametrize("fault", ["not finite", "another shape", "missing"])
def test_weights_that_mean_nothing_are_refused(checkpoint, tmp_path, fault):
    weights = load_file(checkpoint / "model.safetensors")
    name = next(name for name, tensor in weights.items() if tensor.ndim == 4)
    if fault == "not finite":
        weights[name][0, 0, 0, 0] = np.nan
    elif fault == "another shape":
        weights[name] = torch.zeros(1)
    else:
        del weights[name]
    save_file(weights, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match="NaN or infinite" if fault == "not finite" else fault):
        prepare_repository(str(checkpoint), "me", tmp_path / "prepared")


@pytest.mark.parametrize("target", ["", "me/a/b", "me/..", "me me", "-/x"])
def test_a_target_that_is_no_place_is_refused(checkpoint, tmp_path, target):
    with pytest.raises(PushError, match="namespace"):
        prepare_repository(str(checkpoint), target, tmp_path / "prepared")


def test_a_folder_of_another_name_is_pushed_as_what_was_measured(hub, checkpoint, tmp_path, dfer):
    code, _, errors = dfer("export", checkpoint, tmp_path / "out")
    assert code == 0, errors
    code, _, errors = dfer("push", tmp_path / "out", "me")
    assert code == 2
    assert "got those of 'mine'. If the weights are those of 'mine', push them as NAMESPACE/mine" in errors
    assert not hub.requests
    code, _, errors = dfer("push", tmp_path / "out", "me/mine")
    assert code == 0, errors
    assert list(hub.repositories) == ["me/mine"]
    # In the folder of a run, the run has the name.
    shutil.move(tmp_path / "out", tmp_path / "mine-again" / "mine" / "hub")
    assert prepare_repository(str(tmp_path / "mine-again" / "mine" / "hub"), "me", tmp_path / "p").repo_id == "me/mine"


def test_a_run_is_named_after_its_folder(models, tmp_path):
    model, hub = models["frame_resnet"], tmp_path / "my-run" / "hub"
    export_checkpoint(model, processor_of(model.config), hub)
    (hub / "README.md").write_text("---\nlicense: mit\n---\n# my-run\n", encoding="utf-8")
    (hub / "run.json").write_text("{}", encoding="utf-8")
    prepared = prepare_repository(str(hub), "me", tmp_path / "prepared")
    assert prepared.repo_id == "me/my-run"
    assert "run.json" in {file.name for file in prepared.files}


def test_a_pushed_checkpoint_answers_as_the_one_here(hub, push, checkpoint, clips):
    push()
    here = dfer_hf.VideoPredictor.from_pretrained(checkpoint)(clips / "still.png")
    there = dfer_hf.VideoPredictor.from_pretrained("me/mine")(clips / "still.png")
    assert there.faces[0].fine == here.faces[0].fine
    assert there.model == "me/mine"
    assert not hub.leaked
