"""A checkpoint loads whole or is refused with a sentence that names what is wrong with it."""

import json
import shutil
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig

import dfer_hf
from dfer_hf.checkpoints import CheckpointError, find_checkpoint, load_checkpoint
from dfer_hf.models.configuration_aen import AenConfig
from dfer_hf.models.configuration_cfc_sp import CfcSpConfig
from dfer_hf.models.modeling_aen import AenForVideoClassification
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from dfer_hf.models.modeling_resnet_rnn import ResNetRnnForVideoClassification

HEAD = "classifier.weight"


def edit_weights(change):
    def edit(folder):
        weights = load_file(folder / "model.safetensors")
        weights = {name: tensor.clone() for name, tensor in weights.items()}
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return edit


def edit_json(name, **changes):
    def edit(folder):
        content = json.loads((folder / name).read_text(encoding="utf-8")) | changes
        (folder / name).write_text(json.dumps(content), encoding="utf-8")

    return edit


def config(**changes):
    return edit_json("config.json", **changes)


def processor(**changes):
    return edit_json("video_preprocessor_config.json", **changes)


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def remove(name):
    return lambda folder: (folder / name).unlink()


def set_first(value):
    return edit_weights(lambda weights: weights[HEAD].view(-1)[:1].fill_(value))


def other_system(folder):
    model_class = ResNetRnnForVideoClassification
    model_class(model_class.config_class.from_preset("tiny")).save_pretrained(folder / "other")
    shutil.move(folder / "other" / "model.safetensors", folder / "model.safetensors")


def eight_labels(folder):
    labels = [*json.loads((folder / "config.json").read_text(encoding="utf-8"))["id2label"].values(), "contempt"]
    config(
        id2label=dict(enumerate(labels)),
        label2id={label: index for index, label in enumerate(labels)},
        groups={"all": labels},
        group_names=["all"],
    )(folder)


def truncate(folder):
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def pickle_instead(folder):
    weights = load_file(folder / "model.safetensors")
    torch.save({name: tensor.clone() for name, tensor in weights.items()}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def wider(weights):
    weights[HEAD] = torch.nn.functional.pad(weights[HEAD], (0, 4))


def transposed(weights):
    weights[HEAD] = weights[HEAD].t().contiguous()


def half_of_the_shards(folder):
    weights = load_file(folder / "model.safetensors")
    names = sorted(weights)
    save_file({name: weights[name] for name in names[::2]}, folder / "model-00001-of-00002.safetensors")
    files = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    write("model.safetensors.index.json", json.dumps({"weight_map": files}).encode())(folder)
    (folder / "model.safetensors").unlink()


FAULTS = {
    "a tensor is missing": (edit_weights(lambda weights: weights.pop(HEAD)), rf"missing: {HEAD}"),
    "a tensor is unexpected": (
        edit_weights(lambda weights: weights.update(extra=torch.zeros(3))),
        "unexpected: extra",
    ),
    "a tensor has another name": (
        edit_weights(lambda weights: weights.update({"head.weight": weights.pop(HEAD)})),
        rf"missing: {HEAD}; unexpected: head.weight",
    ),
    "a counter is missing": (
        edit_weights(lambda weights: weights.pop(next(key for key in weights if key.endswith("num_batches_tracked")))),
        "missing: .*num_batches_tracked",
    ),
    "a weight is NaN": (set_first(float("nan")), f"NaN or infinite: {HEAD}"),
    "a weight is infinite": (set_first(float("-inf")), f"NaN or infinite: {HEAD}"),
    "a tensor is wider": (edit_weights(wider), rf"{HEAD} of \(7, 12\), not \(7, 8\)"),
    "a tensor is transposed": (edit_weights(transposed), rf"{HEAD} of \(8, 7\), not \(7, 8\)"),
    "the weights are another system's": (other_system, "unexpected: .* more; of another shape: .* more"),
    "half of the shards are missing": (half_of_the_shards, "missing: .* more"),
    "the weights are missing": (remove("model.safetensors"), r"weights in model\.safetensors, .* got none"),
    "the weights are a pickle": (pickle_instead, r"weights in model\.safetensors.* got pytorch_model\.bin"),
    "the weights are cut off": (truncate, "weights that safetensors can read"),
    "the weights are empty": (write("model.safetensors", b""), "weights that safetensors can read"),
    "the weights are garbage": (
        write("model.safetensors", bytes(range(256)) * 9),
        "weights that safetensors can read",
    ),
    "the label count is another": (eight_labels, rf"{HEAD} of \(7, 8\), not \(8, 8\)"),
    "the widths are others": (config(hidden_sizes=[8, 8, 8, 16]), "of another shape"),
    "labels contradict their order": (config(label2id={"happiness": 6}), "label2id"),
    "a label is in no group": (config(groups={"all": ["fear"]}, group_names=["all"]), "groups"),
    "a field of the configuration is unknown": (config(hiden_sizes=[1]), r"config\.json, got hiden_sizes"),
    "a field is of another type": (config(num_frames="sixteen"), r"a config\.json that makes a dfer_frame_resnet"),
    "a field makes no sense": (config(image_size=-1), "image_size"),
    "weights are quantised": (config(quantization_config={"load_in_8bit": True}), "quantization_config"),
    "kernels come from elsewhere": (config(attn_implementation="evil/kernels"), "attn_implementation"),
    "the architecture is a stranger": (
        lambda folder: BertConfig().save_pretrained(folder),
        r"model_type of this package .* got 'bert'",
    ),
    "the architecture is unnamed": (write("config.json", b"{}"), "got 'None'"),
    "the architecture is another system": (config(model_type="dfer_resnet_rnn"), "."),
    "the configuration is garbage": (write("config.json", b"\xff\xfe{"), r"JSON in config\.json"),
    "the configuration is cut off": (write("config.json", b'{"model_type": "dfer_'), r"JSON in config\.json"),
    "the configuration is a list": (write("config.json", b"[1]"), r"JSON in config\.json"),
    "the configuration is nested without end": (write("config.json", b"[" * 99999), r"JSON in config\.json"),
    "the processor is missing": (remove("video_preprocessor_config.json"), "video_preprocessor_config.json"),
    "the processor is garbage": (write("video_preprocessor_config.json", b"{"), "video_preprocessor_config.json"),
    "the processor is another class": (
        processor(video_processor_type="VideoMAEVideoProcessor"),
        "video_processor_type .*VideoMAEVideoProcessor",
    ),
    "the processor makes other sizes": (
        processor(size={"height": 224, "width": 224}),
        r"\(3, 112, 112\) around 0, as config\.json has it, got \(3, 224, 224\)",
    ),
    "the processor crops": (
        processor(do_center_crop=True, crop_size={"height": 96, "width": 96}),
        r"got \(3, 96, 96\)",
    ),
    "the model has one channel": (config(num_channels=1), r"not \(8, 1, |\(1, 112, 112\) around"),
    "faces are aligned otherwise": (processor(alignment="eyes_224"), "alignment .* got 'eyes_224'"),
    "a field of the processor is unknown": (processor(do_gray_scale=True), "do_gray_scale"),
    "the processor divides by zero": (processor(image_std=[0.0, 0.0, 0.0]), "values from -inf to inf"),
    "the processor does not scale": (processor(do_rescale=False), "around 0, .* values from 2 to 101."),
    "the processor makes everything grey": (processor(image_std=[1e9] * 3), "around 0"),
    "the processor's switch is no switch": (processor(do_resize="yes"), "do_resize .* like True, got 'yes'"),
    "the architecture contradicts its type": (
        config(architectures=["AenForVideoClassification"]),
        r"architectures to be \['FrameResNetForVideoClassification'\] .* got \['Aen",
    ),
    "the processor takes no frame": (processor(num_frames=0), "makes frames"),
    "the processor takes no time": (processor(window_seconds=0), "window_seconds"),
    "the processor means nothing": (processor(size="large"), "video_preprocessor_config"),
}


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path):
    """A copy of the tiny checkpoint, to be damaged."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "mine")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_refused_by_name(checkpoint, fault):
    damage, message = FAULTS[fault]
    load_checkpoint(checkpoint)
    damage(checkpoint)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(checkpoint)
    sentence = str(caught.value)
    assert sentence.startswith("The checkpoint 'mine' cannot be used: expected ")
    assert ", got " in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("name", sorted(dfer_hf.shipped_checkpoints()))
def test_what_ships_loads_in_single_precision(name):
    loaded = load_checkpoint(name)
    assert loaded.name == name
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {torch.float32}
    assert not loaded.model.training
    stored = load_file(dfer_hf.shipped_checkpoints()[name] / "model.safetensors")
    assert all(torch.equal(loaded.model.state_dict()[key], tensor.float()) for key, tensor in stored.items())


def test_half_precision_and_shards_load_as_they_were_saved(tiny_model, tiny_checkpoint, checkpoint):
    weights = load_file(tiny_checkpoint / "model.safetensors")
    (checkpoint / "model.safetensors").unlink()
    tiny_model.save_pretrained(checkpoint, max_shard_size="20KB")
    assert len(list(checkpoint.glob("model-*.safetensors"))) > 1
    loaded = load_checkpoint(checkpoint, dtype=torch.bfloat16)
    assert {tensor.dtype for tensor in loaded.model.parameters()} == {torch.bfloat16}
    whole = load_checkpoint(checkpoint).model.state_dict()
    assert all(torch.equal(whole[name], tensor) for name, tensor in weights.items())


def test_a_processor_of_another_length_than_the_model_is_refused(tmp_path):
    config = AenConfig.from_preset("tiny", num_frames=8)
    AenForVideoClassification(config).save_pretrained(tmp_path)
    size = {"height": config.image_size, "width": config.image_size}
    dfer_hf.DferVideoProcessor(num_frames=8, size=size).save_pretrained(tmp_path)
    load_checkpoint(tmp_path)
    for settings in ({"num_frames": 16}, {"num_frames": 8, "frames_per_segment": 3}, {"every_frame": True}):
        dfer_hf.DferVideoProcessor(size=size, **settings).save_pretrained(tmp_path)
        with pytest.raises(CheckpointError, match=r"takes 8 frames, as config\.json has it, got Sampling"):
            load_checkpoint(tmp_path)


def test_a_system_that_takes_any_length_may_have_a_processor_of_any_length(tmp_path):
    CfcSpForVideoClassification(CfcSpConfig.from_preset("tiny")).save_pretrained(tmp_path)
    side = CfcSpConfig.from_preset("tiny").image_size
    dfer_hf.DferVideoProcessor(num_frames=5, size={"height": side, "width": side}).save_pretrained(tmp_path)
    assert load_checkpoint(tmp_path).processor.num_frames == 5


def test_weights_loaded_in_inference_mode_can_be_trained(checkpoint):
    with torch.inference_mode():
        model = load_checkpoint(checkpoint).model
    assert not any(tensor.is_inference() for tensor in model.state_dict().values())
    loss = model(torch.zeros(1, 16, 3, 112, 112), labels=torch.tensor([0])).loss
    loss.backward()


def test_the_file_may_be_written_to_once_it_is_loaded(checkpoint):
    model = load_checkpoint(checkpoint).model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with (checkpoint / "model.safetensors").open("r+b") as file:
        file.seek(1000)
        file.write(b"\x55" * 10_000)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_no_code_of_a_checkpoint_runs_and_no_other_repository_is_asked(checkpoint):
    trap = "raise SystemExit('code of the checkpoint ran')"
    for name in ("configuration_frame_resnet", "modeling_frame_resnet", "video_processing_dfer", "evil"):
        (checkpoint / f"{name}.py").write_text(trap, encoding="utf-8")
    auto_map = {
        "AutoConfig": "evil.Config",
        "AutoModel": "someone/else--evil.Model",
        "AutoModelForVideoClassification": "someone/else--evil.Model",
        "AutoVideoProcessor": "someone/else--evil.Processor",
    }
    config(auto_map=auto_map)(checkpoint)
    processor(auto_map=auto_map)(checkpoint)
    (checkpoint / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/else"}')
    code = (
        "import os, sys, socket\n"
        "def refuse(*arguments, **options): sys.exit('the network was asked')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import dfer_hf\n"
        "from dfer_hf.checkpoints import load_checkpoint\n"
        "from transformers import AutoModelForVideoClassification, AutoVideoProcessor\n"
        "loaded = load_checkpoint(sys.argv[1])\n"
        "assert not hasattr(loaded.model.config, 'auto_map')\n"
        "assert not hasattr(loaded.processor, 'auto_map')\n"
        # With peft, transformers follows it, and has no base to put it on.
        "os.remove(os.path.join(sys.argv[1], 'adapter_config.json'))\n"
        "for trust in ({}, {'trust_remote_code': True}):\n"
        "    model = AutoModelForVideoClassification.from_pretrained(sys.argv[1], **trust)\n"
        "    processor = AutoVideoProcessor.from_pretrained(sys.argv[1], **trust)\n"
        "    assert type(model) is type(loaded.model) and type(processor) is type(loaded.processor)\n"
        "assert 'evil' not in sys.modules and not any('transformers_modules' in name for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(checkpoint)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_hub_id_without_a_network_is_refused_at_once(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    start = time.monotonic()
    with pytest.raises(
        CheckpointError, match=r"'someone/nothing' cannot be used: expected a folder, or a Hub repository"
    ) as caught:
        load_checkpoint("someone/nothing", revision="v2", token="secret")
    assert time.monotonic() - start < 5
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_revision_and_token_reach_the_hub(monkeypatch, tiny_checkpoint):
    asked = []

    def download(repository, **options):
        asked.append((repository, options))
        return str(tiny_checkpoint)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    loaded = load_checkpoint("someone/private", revision="v2", token="secret")
    ((repository, options),) = asked
    assert (repository, options["revision"], options["token"]) == ("someone/private", "v2", "secret")
    assert not any(pattern.endswith((".py", ".bin", "*")) for pattern in options["allow_patterns"])
    assert loaded.name == "someone/private"
    assert loaded.model.config.name_or_path == "someone/private"


@pytest.mark.parametrize("name", ["nothing", "a/b/c", "https://huggingface.co/a/b"])
def test_a_name_that_stands_for_nothing_is_refused(name):
    with pytest.raises(CheckpointError, match="Unknown model"):
        load_checkpoint(name)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        find_checkpoint(tmp_path)
