"""An exported folder answers the same with its own code as with the package."""

import ast
import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf
from dfer_hf.hub.export import export_checkpoint, export_repository

from .conftest import processor_of, with_random_statistics

SYSTEMS = list(dfer_hf.systems())
FIELDS = ("logits", "coarse_logits", "frame_logits", "frame_weights")
DATA_FILES = {"config.json", "model.safetensors", "video_preprocessor_config.json"}
PROCESSOR_FILES = {"video_processing_dfer.py", "hub_code.py", "reader.py", "sampling.py", "detection.py"}

ANSWER = """
import json
from pathlib import Path
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoVideoProcessor

inputs, outputs, *folders = map(Path, sys.argv[1:])
crops, answers = load_file(inputs), {}
for folder in folders:
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    processor = AutoVideoProcessor.from_pretrained(folder, trust_remote_code=True)
    clip = processor(crops[folder.name], return_tensors="pt")
    for auto_class in (AutoModelForVideoClassification, AutoModel):
        model = auto_class.from_pretrained(folder, trust_remote_code=True)
        assert not model.training
        for ours in (config, processor, model):
            assert type(ours).__module__.startswith("transformers_modules."), type(ours)
        again = Path("again", folder.name)
        model.save_pretrained(again)
        processor.save_pretrained(again)
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".safetensors"}
        assert {path.name: path.read_bytes() for path in again.iterdir() if path.suffix != ".safetensors"} == files
        with torch.no_grad():
            output = model(**clip)
        for field in ("logits", "coarse_logits", "frame_logits", "frame_weights"):
            answer = output[field].clone(memory_format=torch.contiguous_format)
            answers[f"{folder.name}/{auto_class.__name__}/{field}"] = answer
assert not any(name.partition(".")[0] in ("dfer_hf", "training") for name in sys.modules)
save_file(answers, outputs)
"""

DOWNLOADED = """
import os, shutil
from pathlib import Path
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

repository, commit = Path(os.environ["HF_HOME"], "hub", "models--someone--mine"), "a" * 40
shutil.copytree(sys.argv[1], repository / "snapshots" / commit)
Path(repository, "refs").mkdir()
Path(repository, "refs", "main").write_text(commit)
model = AutoModelForVideoClassification.from_pretrained("someone/mine", trust_remote_code=True)
processor = AutoVideoProcessor.from_pretrained("someone/mine", trust_remote_code=True)
print(type(model).__module__, type(processor).__module__)
"""


def crops_of(config):
    generator = torch.Generator().manual_seed(3)
    shape = (config.num_frames, 3, 112, 112)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


@torch.no_grad()
def answer(model, clip):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return model(**clip)
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def repositories(models, repositories, tmp_path_factory):
    """Every system's folder; of some exported, of some what `save_pretrained` of its model and processor leaves."""
    folder = tmp_path_factory.mktemp("saved")
    for system in SYSTEMS[1::2]:
        models[system].save_pretrained(folder / system)
        processor_of(models[system].config).save_pretrained(folder / system)
    return repositories | {system: folder / system for system in SYSTEMS[1::2]}


@pytest.fixture(scope="module")
def remote_answers(models, repositories, run_without_package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    save_file({system: crops_of(model.config) for system, model in models.items()}, folder / "crops.safetensors")
    run_without_package(ANSWER, folder / "crops.safetensors", folder / "answers.safetensors", *repositories.values())
    return load_file(folder / "answers.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("auto_class", [AutoModelForVideoClassification, AutoModel])
@pytest.mark.parametrize("system", SYSTEMS)
def test_its_own_code_answers_as_the_package_does_bit_for_bit(
    models, repositories, remote_answers, system, auto_class
):
    folder = repositories[system]
    local = auto_class.from_pretrained(folder)
    assert type(local) is type(models[system])
    processor = AutoVideoProcessor.from_pretrained(folder)
    clip = processor(crops_of(local.config), return_tensors="pt")
    output, before_export = answer(local, clip), answer(models[system], clip)
    for field in FIELDS:
        remote = remote_answers[f"{system}/{auto_class.__name__}/{field}"]
        assert torch.equal(output[field], remote), field
        # Where weights lie in memory can decide the last bit: those of a file lie at other offsets than fresh ones.
        torch.testing.assert_close(before_export[field], remote, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_it_loads_by_its_id_from_the_hub(repositories, run_without_package):
    where = run_without_package(DOWNLOADED, repositories["aen"]).split()
    assert all(module.startswith("transformers_modules.someone.mine.") for module in where)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_folder_holds_what_is_needed_and_nothing_else(repositories, system):
    folder = repositories[system]
    names = {path.name for path in folder.iterdir()}
    code = {name for name in names if name.endswith(".py")}
    assert names - code == DATA_FILES
    assert {f"configuration_{system}.py", f"modeling_{system}.py"} | PROCESSOR_FILES <= code
    needed = {f"modeling_{system}.py", f"configuration_{system}.py", "video_processing_dfer.py"}
    for _ in code:
        needed |= {
            f"{node.module}.py"
            for name in needed
            for node in ast.walk(ast.parse((folder / name).read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom) and node.level
        }
    assert code == needed


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_configuration_names_classes_and_labels(models, repositories, system):
    config = json.loads((repositories[system] / "config.json").read_text(encoding="utf-8"))
    model = models[system]
    modeling = f"modeling_{system}.{type(model).__name__}"
    assert config["auto_map"] == {
        "AutoConfig": f"configuration_{system}.{type(model.config).__name__}",
        "AutoModel": modeling,
        "AutoModelForVideoClassification": modeling,
    }
    assert [config["id2label"][str(index)] for index in range(len(config["id2label"]))] == (model.config.label_names)
    assert config["label2id"] == {label: index for index, label in enumerate(model.config.label_names)}
    assert config["architectures"] == [type(model).__name__]
    processor = json.loads((repositories[system] / "video_preprocessor_config.json").read_text(encoding="utf-8"))
    assert processor["auto_map"] == {"AutoVideoProcessor": "video_processing_dfer.DferVideoProcessor"}
    assert processor["num_frames"] == model.config.num_frames


def test_weights_are_half_only_where_that_loses_nothing(models, tmp_path):
    model = models["frame_resnet"]
    export_repository(model, processor_of(model.config), tmp_path / "exact")
    for name, tensor in load_file(tmp_path / "exact" / "model.safetensors").items():
        assert torch.equal(tensor, model.state_dict()[name])
        assert tensor.dtype == model.state_dict()[name].dtype
    rounded = type(model)(model.config)
    rounded.load_state_dict({name: tensor.half() for name, tensor in model.state_dict().items()})
    export_repository(rounded, processor_of(model.config), tmp_path / "rounded")
    stored = load_file(tmp_path / "rounded" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.is_floating_point()} == {torch.float16}
    loaded = AutoModelForVideoClassification.from_pretrained(tmp_path / "rounded")
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, rounded.state_dict()[name]), name


def test_a_checkpoint_made_from_a_repository_does_not_point_at_code_it_lacks(repositories, tmp_path):
    loaded = AutoModelForVideoClassification.from_pretrained(repositories["aen"])
    export_checkpoint(loaded, processor_of(loaded.config), tmp_path / "checkpoint")
    for name in ("config.json", "video_preprocessor_config.json"):
        assert "auto_map" not in json.loads((tmp_path / "checkpoint" / name).read_text(encoding="utf-8"))


def test_labels_of_ones_own_travel_along(tmp_path):
    model_class = dfer_hf.systems()["frame_resnet"]
    labels = {0: "glad", 1: "calm", 2: "cross"}
    config = model_class.config_class.from_preset(
        "tiny", id2label=labels, groups={"up": ["glad"], "rest": ["calm", "cross"]}
    )
    export_repository(with_random_statistics(model_class(config)), processor_of(config), tmp_path / "moods")
    loaded = AutoConfig.from_pretrained(tmp_path / "moods")
    assert loaded.id2label == labels
    assert loaded.label2id == {"glad": 0, "calm": 1, "cross": 2}
    assert list(loaded.groups) == ["up", "rest"]


def test_exporting_again_is_allowed_and_strangers_are_not_overrun(models, tmp_path):
    model = models["frame_resnet"]
    folder, card = tmp_path / "mine", tmp_path / "card.md"
    card.write_text("# Mine\n", encoding="utf-8")
    (tmp_path / "noise.png").write_bytes(b"a drawing")
    first = export_repository(model, processor_of(model.config), folder, card=card)
    (folder / ".gitattributes").touch()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert export_repository(model, processor_of(model.config), folder, card=card) == first
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in first} == set(before) - {".gitattributes"}
    assert (folder / "README.md").read_text(encoding="utf-8") == "# Mine\n"
    assert (folder / "noise.png").read_bytes() == b"a drawing"
    (folder / "modeling_other.py").touch()
    with pytest.raises(ValueError, match=r"modeling_other\.py"):
        export_repository(model, processor_of(model.config), folder)


def test_saving_changes_no_class_and_no_configuration(models, repositories):
    for system, model in models.items():
        assert repositories[system].is_dir()
        assert model._auto_class is None, system
        assert getattr(model.config, "auto_map", None) is None, system
        assert model.config._auto_class is None, system
    assert dfer_hf.DferVideoProcessor._auto_class is None


def test_registering_a_class_as_tutorials_say_harms_nothing(models, repositories, tmp_path, monkeypatch):
    model = models["aen"]
    monkeypatch.setattr(type(model), "_auto_class", None)
    model.register_for_auto_class("AutoModelForVideoClassification")
    model.config.register_for_auto_class()
    dfer_hf.DferVideoProcessor.register_for_auto_class("AutoVideoProcessor")
    config = type(model.config).from_dict(model.config.to_dict())
    type(model)(config).save_pretrained(tmp_path)
    processor_of(config).save_pretrained(tmp_path)
    for path in repositories["aen"].glob("*[yn]"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("way", ["push_to_hub", "save_pretrained"])
def test_what_is_pushed_is_what_is_saved(models, tmp_path, monkeypatch, way):
    model = models["resnet_rnn"]
    uploaded = tmp_path / "uploaded"
    uploaded.mkdir()

    class Api:
        """Keeps what is uploaded, which lies in a temporary folder."""

        def create_repo(self, repo_id, **options):
            assert options["token"] == "secret"
            return SimpleNamespace(repo_id=repo_id)

        def create_commit(self, *, repo_id, operations, **options):
            assert repo_id == "someone/mine"
            for operation in operations:
                shutil.copy(operation.path_or_fileobj, uploaded / operation.path_in_repo)

    for module in ("utils.hub", "modeling_utils", "configuration_utils", "video_processing_utils"):
        monkeypatch.setattr(f"transformers.{module}.hf_api", Api)
        monkeypatch.setattr(f"transformers.{module}.create_and_tag_model_card", card, raising=False)
    for part in (model, processor_of(model.config)):
        if way == "push_to_hub":
            part.push_to_hub("someone/mine", token="secret")
        else:
            part.save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="someone/mine", token="secret")
        part.save_pretrained(tmp_path / "saved")
    (uploaded / "README.md").unlink()
    assert {path.name: path.read_bytes() for path in uploaded.iterdir()} == {
        path.name: path.read_bytes() for path in (tmp_path / "saved").iterdir()
    }


def card(repository, *arguments, **options):
    return ModelCard(f"# {repository}")
