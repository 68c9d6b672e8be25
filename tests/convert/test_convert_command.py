"""`dfer convert` as people run it, and what they do with the folder."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForVideoClassification

import dfer_hf
from dfer_hf.convert.convert_command import convert_checkpoint
from dfer_hf.output_files import UsageError

from .originals import FormerDfer, GcaIal, IResNet

ROOT = Path(__file__).resolve().parent.parent.parent
DFER = (sys.executable, "-c", "import dfer_start; dfer_start.run()")


def run(*arguments, folder):
    return subprocess.run(
        [*DFER, *map(str, arguments)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.fixture(scope="module")
def former(tmp_path_factory):
    """A folder with the weights of a Former-DFER as its authors save them, and the network."""
    folder = tmp_path_factory.mktemp("former")
    torch.manual_seed(0)
    original = FormerDfer().eval()
    state = {f"module.{name}": tensor for name, tensor in original.state_dict().items()}
    torch.save({"epoch": 9, "state_dict": state, "best_acc": torch.tensor(65.7)}, folder / "model_best.pth")
    return folder, original


@pytest.mark.slow
def test_a_published_file_becomes_a_checkpoint(former, clips):
    folder, original = former
    done = run("convert", "former_dfer", "model_best.pth", "ours", folder=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "tensors of the authors' code (zengqunzhao/Former-DFER)" in done.stdout
    assert "note: the licence is for you to fill in" in done.stdout
    model = AutoModelForVideoClassification.from_pretrained(folder / "ours")
    pixels = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(pixel_values_videos=pixels).logits, original(pixels), rtol=1e-4, atol=1e-5)
    found = dfer_hf.VideoPredictor.from_pretrained(folder / "ours", device="cpu")(clips / "face.webm")
    assert found.faces[0].fine.label in model.config.label_names
    processor = json.loads((folder / "ours" / "video_preprocessor_config.json").read_text(encoding="utf-8"))
    assert (processor["image_mean"], processor["image_std"]) == ([0, 0, 0], [1, 1, 1])
    assert processor["frames_per_segment"] == 2
    # Nobody publishes it by accident.
    pushed = run("push", "--dry-run", "ours", "me", folder=folder)
    assert pushed.returncode == 2
    assert "LicenceMissingError" in pushed.stderr
    card = folder / "ours" / "README.md"
    text = card.read_text(encoding="utf-8")
    assert "converted by `dfer convert former_dfer` from `model_best.pth`" in text
    card.write_text(text.replace("---\n", "---\nlicense: mit\n", 1), encoding="utf-8")
    assert run("push", "--dry-run", "ours", "me", folder=folder).returncode == 0
    # What was written into the card stays.
    assert run("convert", "former_dfer", "model_best.pth", "ours", folder=folder).returncode == 0
    assert "license: mit" in card.read_text(encoding="utf-8")


@pytest.fixture
def convert(dfer):
    def type_in(*arguments):
        return dfer("convert", *arguments)

    return type_in


def test_a_backbone_says_that_it_must_be_trained(convert, tmp_path):
    torch.save(IResNet().state_dict(), tmp_path / "ir.pth")
    code, printed, _ = convert("cfc_sp:iresnet", tmp_path / "ir.pth", tmp_path / "ours", "--labels", "calm, tense")
    assert code == 0
    assert "were left out: output_layer.0, output_layer.3, output_layer.4" in printed
    assert "the classifier has random weights" in printed
    assert "**Not ready to answer.**" in (tmp_path / "ours" / "README.md").read_text(encoding="utf-8")
    config = json.loads((tmp_path / "ours" / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "calm", "1": "tense"}
    dfer_hf.VideoPredictor.from_pretrained(tmp_path / "ours", device="cpu")


def test_what_another_system_shares_says_what_else_must_be_trained(convert, tmp_path):
    torch.save(GcaIal().state_dict(), tmp_path / "gca.pth")
    code, printed, _ = convert("nr_dfernet:gca_ial", tmp_path / "gca.pth", tmp_path / "ours")
    assert code == 0
    assert "the trunk and the classifier have random weights" in printed
    assert "The trunk and the classifier have random" in (tmp_path / "ours" / "README.md").read_text(encoding="utf-8")
    dfer_hf.VideoPredictor.from_pretrained(tmp_path / "ours", device="cpu")


def test_what_cannot_be_converted_is_said_in_a_sentence(convert, tmp_path, former):
    file = former[0] / "model_best.pth"
    (tmp_path / "text.pth").write_text("no weights", encoding="utf-8")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").touch()
    for arguments, message in [
        (("aen", file, tmp_path / "new"), "Unknown system 'aen': expected one of former_dfer, nr_dfernet:gca_ial"),
        (("m3dfel", file, tmp_path / "new"), "there is no tensor 'features.1.0.conv1.0.weight'"),
        (("former_dfer", tmp_path / "text.pth", tmp_path / "new"), "Expected what `torch.save` wrote in 'text.pth'"),
        (("former_dfer", tmp_path / "none.pth", tmp_path / "new"), "No such file"),
        (("former_dfer", file, tmp_path / "notes"), "holds notes.txt. Name another folder"),
        (("former_dfer", file, tmp_path / "new", "--labels", "a,b"), "of another shape: classifier.bias"),
    ]:
        code, _, error = convert(*arguments)
        assert (code, "Traceback" in error) == (2, False)
        assert message in error
    assert not (tmp_path / "new").exists()


def test_a_card_of_other_weights_does_not_stay(former, tmp_path):
    def convert(labels):
        file = former[0] / "model_best.pth"
        options = argparse.Namespace(system="former_dfer", checkpoint=file, folder=tmp_path / "ours", labels=labels)
        return convert_checkpoint(options)

    assert convert(None) == 0
    card = tmp_path / "ours" / "README.md"
    card.write_text(card.read_text(encoding="utf-8").replace("---\n", "---\nlicense: mit\n", 1), encoding="utf-8")
    # What was written into it stays where it is of the same weights.
    assert convert(None) == 0
    assert "license: mit" in card.read_text(encoding="utf-8")
    with pytest.raises(UsageError, match="is of others"):
        convert("a,b,c,d,e,f,g")
    # Everybody calls the file so.
    other = torch.load(former[0] / "model_best.pth", weights_only=True) | {"epoch": 10}
    torch.save(other, former[0] / "model_best.pth")
    with pytest.raises(UsageError, match="is of others"):
        convert(None)
    with pytest.raises(UsageError, match="each once"):
        convert("a,a,b")
