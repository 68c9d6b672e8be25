"""Build a recipe's model, and say where its first weights come from.

A recipe's `initialise_from` names sources, taken in order:

- `torchvision/resnet18` (ImageNet) or `torchvision/r3d_18` (Kinetics-400): the trunk of a system that has that shape;
- `landmarks/<checkpoint or landmark_head.safetensors>`: the landmark head of the key-points GCN;
- a checkpoint by run folder, shipped name, folder or Hub id: of the same system all tensors that fit; of the frame
  recogniser the trunk, inflated for systems of 3D convolutions, AEN's guide, and each ResNet of a CFC-SP. Its faces
  must have been prepared and normalised as those of the recipe.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torchvision.models import get_model_weights
from transformers import AutoConfig, AutoModelForVideoClassification, AutoVideoProcessor, PreTrainedModel

import dfer_hf
from dfer_hf.checkpoints import find_checkpoint
from dfer_hf.convert.names import backbone_name
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from dfer_hf.models.modeling_r3d import R3dTrunk
from training.cache.prepared import PreparationMismatchError, differing
from training.config import TrainConfig
from training.engine.cascade import cascade_tensors
from training.engine.inflation import inflate_backbone
from training.engine.optim import GUIDE, TRUNK
from training.engine.run_folder import locate_checkpoint
from training.engine.trainable import head_tensors

TORCHVISION, LANDMARKS = "torchvision/", "landmarks/"
# Fields of a processor that decide how a face reaches the model.
FACE_FIELDS = ("detector", "alignment", "low_light", "do_grayscale", "image_mean", "image_std")


@dataclass(frozen=True)
class Taken:
    """The tensors taken from one source.

    Args:
        source: As the recipe names it.
        tensors: Names of the model's tensors that were set.
        left: Names of the source's tensors that were not used, and why.
    """

    source: str
    tensors: tuple[str, ...]
    left: Mapping[str, str]

    def __str__(self) -> str:
        parts = sorted({name.split(".")[0] for name in self.tensors})
        said = f"{len(self.tensors)} tensors of {', '.join(parts)} from {self.source}"
        if self.left:
            reasons = sorted({f"{name.split('.')[0]} ({why})" for name, why in self.left.items()})
            said += f"; {len(self.left)} were left: {', '.join(reasons)}"
        return said


def build_model(
    config: TrainConfig, label_names: Sequence[str], processor: dfer_hf.DferVideoProcessor | None = None
) -> tuple[PreTrainedModel, list[Taken]]:
    """Build the recipe's model for the classes of its data; weights come from the seed and from `initialise_from`.

    Args:
        config: The recipe.
        label_names: Classes of its data, in order.
        processor: Of the run; checkpoints that were trained on crops of another kind are refused.

    Raises:
        PreparationMismatchError: If a checkpoint was trained on faces that were prepared otherwise.
        ValueError: If the system, the preset or a source is unknown, or does not fit.
    """
    systems = dfer_hf.systems()
    if config.system not in systems:
        raise ValueError(f"Unknown system {config.system!r}; expected one of {', '.join(systems)}.")
    model_class = systems[config.system]
    renamed = sorted({"id2label", "label2id", "num_labels"} & set(config.model))
    if renamed:
        raise ValueError(
            f"Expected no {' or '.join(renamed)} in [model], as classes and their order are those of the data. Choose "
            "among them with `classes`."
        )
    fields = {"id2label": dict(enumerate(map(str, label_names)))} | config.model
    unknown = sorted(set(config.model) - {entry.name for entry in dataclasses.fields(model_class.config_class)})
    if unknown:
        raise ValueError(f"Expected fields of {model_class.config_class.__name__} in [model], got {unknown}.")
    model = model_class(model_class.config_class.from_preset(config.preset, **fields))
    if processor is not None:
        for source in config.initialise_from:
            if not source.startswith((TORCHVISION, LANDMARKS)):
                check_faces_alike(source, processor, may_differ=config.starts_otherwise)
    return model, [initialise(model, source) for source in config.initialise_from]


def check_faces_alike(source: str, processor: dfer_hf.DferVideoProcessor, *, may_differ: Sequence[str] = ()) -> None:
    """Refuse a checkpoint whose faces were detected, aligned, lit or normalised otherwise than those of the recipe.

    Args:
        source: The checkpoint.
        processor: Of the run.
        may_differ: Fields of the processor that the recipe lets differ.

    Raises:
        PreparationMismatchError: If they were.
    """
    theirs = AutoVideoProcessor.from_pretrained(locate_checkpoint(source)[0])
    names = [name for name in FACE_FIELDS if name not in may_differ]
    fields = [json.loads(json.dumps({name: getattr(of, name, None) for name in names})) for of in (theirs, processor)]
    had, wanted = differing(*fields)
    if had:
        raise PreparationMismatchError(
            f"Expected weights that were trained on faces with {wanted}, as the recipe and its cache have them, but "
            f"those of {source} were trained with {had}. Set [normalisation] in the recipe and prepare the cache as "
            "they were, or take the source out of `initialise_from`."
        )


def initialise(model: PreTrainedModel, source: str) -> Taken:
    """Load weights from a source into a model, in place.

    Raises:
        ValueError: If the source is unknown, gives the model nothing, or has other classes.
    """
    if source.startswith(TORCHVISION):
        found, wanted = torchvision_trunk(source.removeprefix(TORCHVISION)), TRUNK
    elif source.startswith(LANDMARKS):
        found, wanted = landmark_head(source.removeprefix(LANDMARKS)), "landmark_head."
    else:
        found, wanted = checkpoint_tensors(model, source), ""
    present, new_head = model.state_dict(), head_of_other_classes(model, source)
    fitting = {
        name: tensor
        for name, tensor in found.items()
        if name in present and present[name].shape == tensor.shape and name not in new_head
    }
    if not fitting or not any(name.startswith(wanted) for name in present):
        raise ValueError(
            f"Expected {source} to fit {type(model).__name__}, but none of its tensors does. "
            "Take it out of `initialise_from`, or choose a system and sizes of its shape."
        )
    trunk = [name for name in present if name.startswith(TRUNK)]
    missing = [name for name in trunk if name not in fitting]
    if missing and len(missing) < len(trunk):
        raise ValueError(
            f"Expected {source} to fill the whole trunk, but {len(missing)} of its {len(trunk)} tensors differ in "
            f"shape or name, such as {missing[0]}. Give the model the sizes of the source."
        )
    model.load_state_dict(fitting, strict=False)
    left = {}
    for name in found:
        if name in new_head:
            left[name] = "other classes"
        elif name not in present:
            left[name] = "no place"
        elif name not in fitting:
            left[name] = f"is {tuple(found[name].shape)}, not {tuple(present[name].shape)}"
    return Taken(source, tuple(fitting), left)


def head_of_other_classes(model: PreTrainedModel, source: str) -> set[str]:
    """Return the names of the tensors of the head, where a source of the same system has other classes.

    They are not loaded even where their shapes agree: the classes may be different ones, or in another order.
    """
    if source.startswith((TORCHVISION, LANDMARKS)):
        return set()
    theirs = AutoConfig.from_pretrained(locate_checkpoint(source)[0])
    same = theirs.model_type != model.config.model_type or theirs.label_names == model.config.label_names
    return set() if same else head_tensors(model)


def checkpoint_tensors(model: PreTrainedModel, source: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a checkpoint of this package under the names they have in the model.

    Raises:
        ValueError: If it is neither of the same system nor a frame recogniser, or its classes do not fit AEN's guide.
    """
    giver = AutoModelForVideoClassification.from_pretrained(locate_checkpoint(source)[0], dtype=torch.float32)
    given = giver.config.model_type
    if given == model.config.model_type:
        return giver.state_dict()
    if given != "dfer_frame_resnet":
        raise ValueError(
            f"Expected a checkpoint of {model.config.model_type} or of dfer_frame_resnet, but {source} is of {given}."
        )
    tensors = giver.state_dict()
    if isinstance(model, CfcSpForVideoClassification):
        return cascade_tensors(model, tensors, giver.config.label_names)
    trunk = {name: tensor for name, tensor in tensors.items() if name.startswith(TRUNK)}
    if isinstance(model.get_submodule("trunk"), R3dTrunk):
        return inflate_backbone(trunk, model.state_dict())
    if not hasattr(model, "guide"):
        return trunk
    if giver.config.id2label != model.config.id2label:
        raise ValueError(
            f"Expected the classes {model.config.id2label} of a guide, but {source} has {giver.config.id2label}."
        )
    return trunk | {f"{GUIDE}{name}": tensor for name, tensor in tensors.items()}


def torchvision_trunk(name: str) -> dict[str, torch.Tensor]:
    """Return torchvision's weights under the names of our trunks; they are downloaded once.

    Raises:
        ValueError: If no system has a trunk of that shape.
    """
    if name not in ("resnet18", "r3d_18"):
        raise ValueError(f"Expected torchvision/resnet18 or torchvision/r3d_18, got torchvision/{name}.")
    weights = get_model_weights(name).DEFAULT.get_state_dict(progress=True, check_hash=True)  # pyright: ignore[reportAttributeAccessIssue]
    tensors = {key: tensor for key, tensor in weights.items() if not key.startswith("fc.")}
    if name == "r3d_18":
        return {TRUNK + key: tensor for key, tensor in tensors.items()}
    return {TRUNK + backbone_name(key): tensor for key, tensor in tensors.items()}


def landmark_head(source: str) -> dict[str, torch.Tensor]:
    """Read a landmark head from a key-points checkpoint or from the file that `train_landmarks.py` writes."""
    if source.endswith(".safetensors"):
        tensors = load_file(source)
    else:
        giver = AutoModelForVideoClassification.from_pretrained(find_checkpoint(source), dtype=torch.float32)
        tensors = giver.get_submodule("landmark_head").state_dict()
    return {f"landmark_head.{name}": tensor for name, tensor in tensors.items()}


def write_report(taken: list[Taken], path: Path) -> None:
    """Write which tensors were taken from where, as JSON."""
    path.write_text(json.dumps([dataclasses.asdict(part) for part in taken], indent=2) + "\n", encoding="utf-8")
