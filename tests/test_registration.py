"""What `import dfer_hf` tells transformers, and what it leaves for later."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import AutoModel, AutoModelForVideoClassification, AutoVideoProcessor
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING

import dfer_hf
from dfer_hf.registration import system_configs

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = ROOT / "model_cards" / "dfer-frame-resnet-small"
SIXTH = {
    "configuration_sixth.py": """
from huggingface_hub.dataclasses import strict
from .configuration_frame_resnet import FrameResNetConfig

@strict
class SixthConfig(FrameResNetConfig):
    model_type = "dfer_sixth"
""",
    "modeling_sixth.py": """
from .configuration_sixth import SixthConfig
from .modeling_frame_resnet import FrameResNetForVideoClassification

class SixthForVideoClassification(FrameResNetForVideoClassification):
    config: SixthConfig
    config_class = SixthConfig
""",
}


def run(code, package=ROOT):
    """What a fresh process prints that imports the package from a folder."""
    environment = os.environ | {"PYTHONPATH": str(package), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=package, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_an_import_leaves_what_takes_seconds_for_later():
    slow = ("torchvision", "torch._dynamo", "transformers.modeling_utils", "cv2", "scipy", "facenet_pytorch")
    code = f"import torch, transformers, dfer_hf, sys; print(*(name for name in {slow} if name in sys.modules))"
    assert run(code) == []


@pytest.mark.parametrize(("system", "config_class"), system_configs().items())
def test_transformers_finds_the_class_of_every_system(system, config_class):
    model_class = dfer_hf.systems()[system]
    assert model_class.config_class is config_class
    for auto_class in (AutoModel, AutoModelForVideoClassification):
        assert type(auto_class.from_config(config_class.from_preset("tiny"))) is model_class
        registered = auto_class._model_mapping[config_class]
        assert (registered.__module__, registered.__name__) == (model_class.__module__, model_class.__name__)
    assert VIDEO_PROCESSOR_MAPPING[config_class] == {"torchvision": dfer_hf.DferVideoProcessor}


def test_every_system_is_registered():
    assert list(system_configs()) == list(dfer_hf.systems())


@pytest.mark.parametrize(
    "imports",
    [
        "import dfer_hf; from transformers import AutoVideoProcessor as A",
        "from transformers import AutoVideoProcessor as A; import dfer_hf",
        "import dfer_hf; from dfer_hf import DferVideoProcessor; from transformers import AutoVideoProcessor as A",
    ],
)
def test_the_processor_is_found_whatever_is_imported_first(imports):
    assert run(f"{imports}; print(type(A.from_pretrained({str(SHIPPED)!r})).__name__)") == ["DferVideoProcessor"]


def test_public_names_are_there_and_others_are_refused():
    assert set(dfer_hf.__all__) <= set(dir(dfer_hf))
    assert all(getattr(dfer_hf, name) for name in dfer_hf.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'VideoPredictr'"):
        _ = dfer_hf.VideoPredictr
    assert AutoVideoProcessor.from_pretrained(SHIPPED).__class__ is dfer_hf.DferVideoProcessor


def test_a_system_is_added_by_its_two_files_alone(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dfer_hf", tmp_path / "dfer_hf", ignore=ignored)
    shutil.copy(ROOT / "dfer_cli.py", tmp_path)
    for name, text in SIXTH.items():
        (tmp_path / "dfer_hf" / "models" / name).write_text(text, encoding="utf-8")
    code = (
        "import dfer_hf; from transformers import AutoConfig, AutoModel; from dfer_cli import main;"
        "config = AutoConfig.for_model('dfer_sixth', **dfer_hf.systems()['sixth'].config_class.presets['tiny']);"
        "print(type(AutoModel.from_config(config)).__name__, flush=True);"
        "main(['models'])"
    )
    printed = run(code, tmp_path)
    assert printed[0] == "SixthForVideoClassification"
    assert "sixth" in printed
