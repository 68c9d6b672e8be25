"""`dfer push`, as it is typed."""

import shutil
import socket

import pytest

import dfer_hf.checkpoints

from .conftest import TOKENS, write_checkpoint


@pytest.fixture
def shipped(models, tmp_path, monkeypatch):
    """Two checkpoints in the place of those that ship."""
    cards = tmp_path / "shipped" / "model_cards"
    names = ["dfer-first", "dfer-second"]
    folders = [write_checkpoint(models["frame_resnet"], cards / name) for name in names]
    monkeypatch.setattr(dfer_hf.checkpoints, "shipped_folder", lambda name: tmp_path / "shipped" / name)
    return folders


def test_all_checkpoints_are_pushed_with_a_collection(hub, shipped, dfer):
    code, printed, errors = dfer("push", "--all", "me", "--private")
    assert code == 0, errors
    assert list(hub.repositories) == ["me/dfer-first", "me/dfer-second"]
    assert all(repository.private for repository in hub.repositories.values())
    ((slug, collection),) = hub.collections.items()
    assert collection["private"]
    assert [item["id"] for item in collection["items"]] == list(hub.repositories)
    assert f"{hub.url}/collections/{slug}" in printed
    assert f"{hub.url}/me/dfer-first" in printed
    assert not [token for token in TOKENS if token in printed + errors]
    assert len(shipped) == 2


def test_nothing_is_sent_if_one_of_them_is_not_fit(hub, shipped, dfer):
    (shipped[1] / "README.md").unlink()
    code, _, errors = dfer("push", "--all", "me")
    assert code == 2
    assert "CardMissingError: " in errors
    assert not hub.requests


def test_a_dry_run_lists_files_and_sizes_and_touches_no_network(checkpoint, dfer, monkeypatch):
    def refuse(*unused):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    code, printed, errors = dfer("push", "--dry-run", checkpoint, "me")
    assert code == 0, errors
    assert printed.startswith("me/mine: ")
    lines = dict(line.split(maxsplit=1) for line in printed.splitlines()[1:])
    assert lines["noise.png"] == "9 bytes"
    assert {"model.safetensors", "config.json", "hub_code.py", "README.md", "results.json"} <= lines.keys()


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["mine"], "Expected CHECKPOINT NAMESPACE, got mine"),
        (["--all", "mine", "me"], "Expected NAMESPACE, got mine me"),
        (["--all", "me/name"], "Expected NAMESPACE, got me/name"),
        (["nobody", "me"], "CheckpointError: Unknown model 'nobody'"),
        (["me/mine", "me"], "PushError: Expected a checkpoint of this machine"),
        (["mine", "you"], "HubRefusedError: "),
        (["mine", "me you"], "PushError: "),
    ],
)
@pytest.mark.usefixtures("checkpoint")
def test_a_push_that_cannot_be_ends_with_one_named_error(dfer, arguments, error):
    code, _, errors = dfer("push", *arguments)
    assert code == 2
    assert error in errors
    assert not [token for token in TOKENS if token in errors]


def test_a_second_push_of_the_command_sends_what_changed(hub, checkpoint, dfer):
    assert dfer("push", checkpoint, "me/other")[0] == 0
    shutil.copy(checkpoint / "README.md", checkpoint / "more.png")
    code, printed, _ = dfer("push", checkpoint, "me/other")
    assert (code, "1 sent, 0 deleted" in printed) == (0, True)
    assert "more.png" in hub.repositories["me/other"].files
