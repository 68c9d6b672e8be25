"""Register the systems with transformers, once it is imported, and import none: that would take seconds."""

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING

import wrapt

from . import models

if TYPE_CHECKING:
    from .models.configuration_dfer import DferConfig


class ImportedWhenUsed(type):
    """Type of stand-ins for a class: whatever is asked of one is asked of that class, which is imported then."""

    def __getattr__(cls, name: str) -> object:
        return getattr(imported(cls), name)


def imported(stand_in: ImportedWhenUsed) -> type:
    """Import the class that a stand-in stands for."""
    return getattr(importlib.import_module(stand_in.__module__), stand_in.__name__)


def system_configs() -> "dict[str, type[DferConfig]]":
    """Name and configuration class of every system: each `models/configuration_*.py` with a `modeling_*.py` beside it.

    `configuration_dfer`, which all systems share, is none: its `model_type` is the prefix of theirs.
    """
    names = {module.name for module in pkgutil.iter_modules(models.__path__)}
    found = {}
    for name in sorted(names):
        system = name.removeprefix("configuration_")
        if system == name or f"modeling_{system}" not in names:
            continue
        module = importlib.import_module(f"{models.__name__}.{name}")
        for member in vars(module).values():
            own = isinstance(member, type) and member.__module__ == module.__name__
            if own and getattr(member, "model_type", "").startswith("dfer_"):
                found[system] = member
    return found


def stand_in(system: str, config_class: "type[DferConfig]") -> ImportedWhenUsed:
    """Stand in for the model class of a system: `AenForVideoClassification` of `AenConfig`, in `modeling_aen`."""
    name = f"{config_class.__name__.removesuffix('Config')}ForVideoClassification"
    module = f"{models.__name__}.modeling_{system}"
    return ImportedWhenUsed(name, (), {"__module__": module, "config_class": config_class})


def register() -> None:
    """Have every system registered as soon as anybody imports transformers' Auto classes."""
    for module, registers in (
        ("configuration_auto", _register_configs),
        ("modeling_auto", _register_models),
        ("video_processing_auto", _register_processor),
    ):
        wrapt.register_post_import_hook(registers, f"transformers.models.auto.{module}")


def _register_configs(module: ModuleType) -> None:
    for config_class in system_configs().values():
        module.AutoConfig.register(config_class.model_type, config_class, exist_ok=True)


def _register_models(module: ModuleType) -> None:
    for system, config_class in system_configs().items():
        model_class = stand_in(system, config_class)
        module.AutoModel.register(config_class, model_class, exist_ok=True)
        module.AutoModelForVideoClassification.register(config_class, model_class, exist_ok=True)


def _register_processor(module: ModuleType) -> None:
    from .faces.video_processing_dfer import DferVideoProcessor

    for config_class in system_configs().values():
        module.AutoVideoProcessor.register(config_class, DferVideoProcessor, exist_ok=True)
