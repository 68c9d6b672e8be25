import json
import math
import shutil

import cv2
import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from skimage import data
from transformers import AutoModelForVideoClassification

import dfer_hf
import training.cli
from dfer_hf.taxonomy import SEVEN_EMOTIONS
from training.cache.face_clips import FaceCropper
from training.config import TrainConfig
from training.datasets.corpus import CorpusError
from training.datasets.folder import OWN_CLASSES
from training.engine.run_card import licence_of, write_card
from training.engine.trainable import freeze_parameters, merge_adapters
from training.evaluation.prediction_files import load_predictions
from training.finetune import CACHE, FinetuneError, finetune, group_classes, read_groups
from training.prepare import corpus_clips, prepare

CLASSES = ("squinting", "beaming", "yawning")


def write_clips(root, count, *, num_frames=2, classes=CLASSES):
    """Write folders of frames of the astronaut's face, which is lit differently in each class."""
    portrait = cv2.resize(data.astronaut()[:224, 112:336], (160, 160))
    for number in range(count):
        label = number % len(classes)
        folder = root / classes[label] / f"clip {number:02d}"
        folder.mkdir(parents=True)
        gain = (0.5, 0.85, 1.2)[label] + 0.02 * math.sin(number)
        for frame in range(num_frames):
            shifted = np.roll(portrait, frame, axis=1)
            cv2.imwrite(str(folder / f"{frame:03d}.png"), cv2.convertScaleAbs(shifted[..., ::-1], alpha=gain))
    return root


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), 12)


@pytest.fixture(scope="module")
def cache(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    prepare(corpus_clips(OWN_CLASSES, clips), folder, corpus=OWN_CLASSES.name, cropper=FaceCropper())
    return folder


@pytest.fixture
def output(cache, tmp_path):
    """A run folder whose clips are prepared already."""
    shutil.copytree(cache, tmp_path / "mine" / CACHE)
    return tmp_path / "mine"


def make_checkpoint(folder, system="frame_resnet", **fields):
    torch.manual_seed(0)
    model_class = dfer_hf.systems()[system]
    config = model_class.config_class.from_preset("tiny", **fields)
    model_class(config).save_pretrained(folder)
    by_frame = system in ("frame_resnet", "cfc_sp")
    processor = dfer_hf.DferVideoProcessor(
        num_frames=1 if system == "cfc_sp" else config.num_frames,
        frames_per_segment=1,
        every_frame=by_frame,
        image_mean=[0.5] * 3,
        image_std=[0.25] * 3,
    )
    processor.save_pretrained(folder)
    return folder


def test_a_folder_of_clips_becomes_a_checkpoint_that_the_predictor_loads(clips, output, tmp_path, capsys):
    source = make_checkpoint(tmp_path / "given")
    words = ["finetune", clips, "--from", source, "--output", output, "--epochs", 1, "--head-only"]
    words += ["--groups", "closed=squinting,yawning", "open=beaming", "--set", "epoch_length=16"]
    assert training.cli.main([str(word) for word in words]) == 0
    assert "on the part that chose it" in capsys.readouterr().out
    predictor = dfer_hf.VideoPredictor.from_pretrained(str(output / "checkpoint"))
    config = predictor.model.config
    assert config.label_names == ["beaming", "squinting", "yawning"]
    assert config.groups == {"closed": ["squinting", "yawning"], "open": ["beaming"]}
    answer = predictor(clips / "beaming" / "clip 01" / "000.png")
    assert set(answer.faces[0].fine.probabilities) == set(CLASSES)
    card = (output / "hub/README.md").read_text(encoding="utf-8")
    assert "a part cut from the training clips" in card
    assert "started from the weights of `given`" in card
    assert str(tmp_path) not in card + (output / "hub/run.json").read_text(encoding="utf-8")
    record = json.loads((output / "run.json").read_text(encoding="utf-8"))
    assert record["config"]["initialise_from"] == [str(source)]
    assert record["split"]["validation"]["clips"] == 3


def test_the_head_alone_learns_and_all_else_stays(clips, output, tmp_path):
    source = make_checkpoint(tmp_path / "given", "former_dfer")
    run = finetune(clips, str(source), output, trainable="head", num_epochs=1, settings=["epoch_length=8"])
    before, after = (
        AutoModelForVideoClassification.from_pretrained(folder).state_dict() for folder in (source, run.checkpoint)
    )
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        "classifier.weight",
        "classifier.bias",
    }


def test_a_part_to_test_on_is_measured_in_the_end(clips, output, tmp_path):
    shutil.copytree(clips, tmp_path / "parted")
    names = sorted(path.relative_to(clips).as_posix() for path in clips.glob("*/*"))
    lines = [f"{name},{name.split('/')[0]},{'test' if name[-1] in '012' else 'train'}" for name in names]
    table = "\n".join(["file_name,label,split", *lines])
    (tmp_path / "parted/metadata.csv").write_text(table, encoding="utf-8")
    source = make_checkpoint(tmp_path / "given")
    run = finetune(tmp_path / "parted", str(source), output, num_epochs=1, settings=["epoch_length=8"])
    results = json.loads((run.evaluation / "results.json").read_text(encoding="utf-8"))
    assert results["fine"]["count"] == sum(line.endswith("test") for line in lines)
    assert "test" in (run.hub / "README.md").read_text(encoding="utf-8")


def test_a_run_that_broke_off_while_it_was_measured_is_measured_again(clips, output, tmp_path):
    """With classes as people name them: one is the other's opposite, and one has a slash in its name."""
    names = {"beaming": "smile", "squinting": "not smile", "yawning": "tired/bored %2F"}
    shutil.copytree(clips, tmp_path / "parted")
    found = sorted(path.relative_to(clips).as_posix() for path in clips.glob("*/*"))
    rows = [f"{name},{names[name.split('/')[0]]},{'test' if name[-1] in '012' else 'train'}" for name in found]
    (tmp_path / "parted/metadata.csv").write_text("\n".join(["file_name,label,split", *rows]), encoding="utf-8")
    source = make_checkpoint(tmp_path / "given")
    options = {"trainable": "head", "num_epochs": 1, "settings": ["epoch_length=8"]}
    run = finetune(tmp_path / "parted", str(source), output, **options)
    measured = run.evaluation / "results.json"
    predictions = load_predictions(run.evaluation / "predictions.csv")
    assert sorted(predictions.label_names) == sorted(names.values())
    measured.unlink()
    finetune(tmp_path / "parted", str(source), output, **options)
    assert measured.is_file()
    # Nobody said under which licence the weights are that it started from.
    card = ModelCard((run.hub / "README.md").read_text(encoding="utf-8"))
    assert "license" not in card.data.to_dict()
    assert "names no licence" in card.text
    (source / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n", encoding="utf-8")
    write_card(run)
    # It holds, whatever becomes of the source.
    for _ in range(2):
        assert ModelCard((run.hub / "README.md").read_text(encoding="utf-8")).data.license == "cc-by-nc-4.0"
        shutil.rmtree(source, ignore_errors=True)
        write_card(run)


def test_the_licence_is_that_of_the_weights_a_run_started_from(tmp_path):
    cards = {
        "a": "license: cc-by-nc-4.0",
        "b": "license: mit",
        "c": "license: other\nlicense_name: of-a-lab\nlicense_link: LICENSE",
        "d": "tags: [x]",
    }
    for name, said in cards.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").touch()
        (tmp_path / name / "README.md").write_text(f"---\n{said}\n---\n", encoding="utf-8")
    a, b, c, d = (str(tmp_path / name) for name in cards)
    ours = {"license": "apache-2.0"}
    assert licence_of([]) == licence_of(["torchvision/resnet18", "dfer-aen-small"]) == ours
    assert licence_of(["dfer-aen-small", a]) == licence_of([f"landmarks/{a}"]) == {"license": "cc-by-nc-4.0"}
    assert licence_of([c]) == {"license": "other", "license_name": "of-a-lab", "license_link": "LICENSE"}
    assert licence_of([a, b]) == licence_of([d]) == licence_of([a, d]) == licence_of(["somebody/unknown"]) == {}


def test_an_impossible_field_of_the_model_is_said_in_one_line(clips, output, tmp_path, capsys):
    words = ["finetune", clips, "--from", make_checkpoint(tmp_path / "given"), "--output", output]
    assert training.cli.main([*map(str, words), "--set", "model.image_size=0"]) == 1
    said = capsys.readouterr().err
    assert "must be at least 1, got 0" in said
    assert "Traceback" not in said


def test_adapters_learn_and_are_merged_into_the_checkpoint(clips, output, tmp_path):
    pytest.importorskip("peft")
    source = make_checkpoint(tmp_path / "given", "former_dfer")
    run = finetune(clips, str(source), output, trainable="lora", num_epochs=1, settings=["epoch_length=8"])
    before, after = (
        AutoModelForVideoClassification.from_pretrained(folder).state_dict() for folder in (source, run.checkpoint)
    )
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert {"classifier.weight", "classifier.bias"} < changed
    assert not any("norm" in name or "bn" in name for name in changed)


@pytest.mark.parametrize("system", ["frame_resnet", "former_dfer", "resnet_rnn"])
def test_merged_adapters_answer_as_the_adapted_model(system):
    pytest.importorskip("peft")
    model_class = dfer_hf.systems()[system]
    model = model_class(model_class.config_class.from_preset("tiny")).eval()
    config = TrainConfig("x", "x", ((32, 1, 1.0),), 1, 0.1, trainable="lora", lora_rank=2)
    freeze_parameters(model, config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    side = model.config.image_size
    clip = torch.rand(1, model.config.num_frames, 3, side, side)
    merged = merge_adapters(model)
    assert not any("lora" in name for name in merged.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(merged(clip).logits, model(clip).logits, atol=1e-4, rtol=1e-3)


def test_the_guide_of_aen_learns_the_new_classes(clips, output, tmp_path):
    source = make_checkpoint(tmp_path / "given", "aen")
    run = finetune(clips, str(source), output, num_epochs=1, settings=["epoch_length=8"])
    model = AutoModelForVideoClassification.from_pretrained(run.checkpoint)
    assert model.guide.config.label_names == ["beaming", "squinting", "yawning"]
    assert model.guide.classifier.weight.abs().max() > 0.1
    taken = json.loads(run.initialisation_file.read_text(encoding="utf-8"))[0]
    assert taken["left"]["guide.classifier.weight"] == "other classes"


CLASSIFIER = {"groups": {str(name): [str(name)] for name in SEVEN_EMOTIONS}}


@pytest.mark.parametrize("fields", [{"fine_nets": ["iresnet"]}, CLASSIFIER], ids=["cascade", "one net"])
def test_nets_of_cfc_sp_learn_the_new_classes(clips, output, tmp_path, fields):
    source = make_checkpoint(tmp_path / "given", "cfc_sp", coarse_nets=["iresnet"], **fields)
    groups = None if fields is CLASSIFIER else read_groups(["closed=squinting,yawning", "open=beaming"])
    settings = ["epoch_length=8", "select=last"]
    run = finetune(clips, str(source), output, groups=groups, trainable="head", num_epochs=1, settings=settings)
    given, model = (AutoModelForVideoClassification.from_pretrained(folder) for folder in (source, run.checkpoint))
    assert model.config.label_names == ["beaming", "squinting", "yawning"]
    assert len(model.fine_nets) == len(model.config.fine_nets) * (groups is not None)
    before, after = given.state_dict(), model.state_dict()
    heads = {name for name in after if ".head." in name}
    assert heads
    assert {name for name in after if name not in before or not torch.equal(after[name], before[name])} == heads


def test_classes_of_a_group_need_nets_that_tell_them_apart(clips, tmp_path):
    source = make_checkpoint(tmp_path / "given", "cfc_sp", coarse_nets=["iresnet"], **CLASSIFIER)
    groups = read_groups(["closed=squinting,yawning", "open=beaming"])
    with pytest.raises(FinetuneError, match=r"a group of its own for each class.*Leave --groups out, or start from"):
        finetune(clips, str(source), tmp_path / "mine", groups=groups)


def test_groups_follow_from_spelled_emotions_or_are_given():
    table = {"positive": ["happiness", "surprise"], "negative": ["anger"]}
    assert group_classes(["Angry", "joy", "yawning"], None, table) == {
        "negative": ["Angry"],
        "positive": ["joy"],
        "yawning": ["yawning"],
    }
    given = read_groups(["good=smile, laugh", "bad=frown"])
    assert group_classes(["frown", "laugh", "smile"], given, table) == given
    with pytest.raises(FinetuneError, match="every class in one group"):
        group_classes(["frown", "laugh"], given, table)
    for word in ("good", "=smile", "good="):
        with pytest.raises(FinetuneError, match="a group such as good=smile,laugh"):
            read_groups([word])


def test_what_cannot_be_fine_tuned_is_named(clips, tmp_path):
    one = write_clips(tmp_path / "one", 2, classes=CLASSES[:1])
    source = make_checkpoint(tmp_path / "given")
    with pytest.raises(CorpusError, match=r"two or more classes to train on .*, got squinting"):
        finetune(one, str(source), tmp_path / "mine")
    with pytest.raises(ValueError, match="the recipe learning_rat=1 has unknown keys"):
        finetune(clips, str(source), tmp_path / "mine", settings=["learning_rat=1"])
    dark = tmp_path / "dark"
    for name in ("a/1", "a/2", "b/1", "b/2"):
        (dark / name).mkdir(parents=True)
        cv2.imwrite(str(dark / name / "0.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(FinetuneError, match="clips that show a face"):
        finetune(dark, str(source), tmp_path / "mine")


@pytest.mark.slow
def test_forty_clips_of_three_invented_classes_are_learnt(tmp_path):
    clips = write_clips(tmp_path / "clips", 40)
    run = finetune(clips, "dfer-frame-resnet-small", tmp_path / "mine", num_epochs=3)
    predictor = dfer_hf.VideoPredictor.from_pretrained(str(run.checkpoint))
    assert predictor.model.config.label_names == sorted(CLASSES)
    rows = run.read_progress().rows
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert max(row["uar"] for row in rows) > 0.4
