"""Put trained nets of CFC-SP together into one model.

    python -m training.systems.cfc_sp_assembly --coarse swin=runs/cfc_swin iresnet=runs/cfc_iresnet \
        hrnet=runs/cfc_hrnet --fine repvgg=runs/cfc_repvgg_negative --output runs/cfc_sp

Each net is a classifier of its own run, as in the first author's code: a coarse one of the groups
(`cfc_sp_aff_wild2_<net>.toml`), a fine one of the classes inside a group, which has seen no others
(`cfc_sp_aff_wild2_<net>_negative.toml`). Every row of the paper's Tables 2 to 4 is made of the same eight runs.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoModelForVideoClassification, AutoVideoProcessor

import dfer_hf  # noqa: F401  puts our classes into transformers' auto classes
from dfer_hf.models.configuration_cfc_sp import NETS, CfcSpConfig
from dfer_hf.models.modeling_cfc_sp import CfcSpForVideoClassification
from training.cache.prepared import differing_fields
from training.engine.run_folder import RunFolder

PAPER = CfcSpConfig()
RECIPES = {"coarse": "cfc_sp_aff_wild2_{}.toml", "fine": "cfc_sp_aff_wild2_{}_negative.toml"}
OF_EACH_RUN = (
    "coarse_nets", "fine_nets", "smoothing_window", "id2label", "label2id", "groups", "group_names",
    "_name_or_path", "transformers_version",
)  # fmt: skip
"""Fields in which the nets' configurations may differ."""


def assemble(
    output: Path,
    *,
    coarse_nets: Mapping[str, Path],
    fine_nets: Mapping[str, Path],
    smoothing_window: int = PAPER.smoothing_window,
) -> None:
    """Write the checkpoint of a model whose nets were trained apart.

    Args:
        output: Folder to write.
        coarse_nets: Kind of each net that votes on the group, to its checkpoint.
        fine_nets: Kind of each net that votes on the class inside a group, to its checkpoint.
        smoothing_window: As in `CfcSpConfig`.

    Raises:
        ValueError: If a checkpoint is no single net of its kind, or the checkpoints differ in classes, sizes or
            processor.
    """
    nets = [("coarse", *net) for net in coarse_nets.items()] + [("fine", *net) for net in fine_nets.items()]
    givers = [_load(role, kind, checkpoint) for role, kind, checkpoint in nets]
    processors = [AutoVideoProcessor.from_pretrained(checkpoint) for _, _, checkpoint in nets]
    for (role, kind, _), giver, processor in zip(nets[1:], givers[1:], processors[1:], strict=True):
        differing = sorted(differing_fields(_shared(givers[0].config), _shared(giver.config)))
        differing += sorted(differing_fields(processors[0].to_dict(), processor.to_dict()))
        if differing:
            raise ValueError(
                f"Expected nets that were trained alike, but the {nets[0][0]} {nets[0][1]} and the {role} {kind} "
                f"differ in {', '.join(differing)}. Train them on one dataset and cache, with the same sizes and "
                "normalisation."
            )
    of_groups, of_labels = givers[0].config.label_names, givers[-1].config.label_names
    model = CfcSpForVideoClassification(
        _whole(givers[0].config, of_groups, of_labels, coarse_nets, fine_nets, smoothing_window)
    )
    splits = [model.config.label_names[index] for group in model.split_labels for index in group]
    rows = {"coarse": list(model.config.groups), "fine": splits}
    tensors: dict[str, torch.Tensor] = {}
    places = {"coarse": 0, "fine": 0}
    for (role, kind, _), giver in zip(nets, givers, strict=True):
        names = giver.config.label_names
        if sorted(names) != sorted(rows[role]):
            raise ValueError(
                f"Expected the {role} {kind} to tell apart {', '.join(rows[role])}, but its classes are "
                f"{', '.join(names)}. Train it by training/recipes/{RECIPES[role].format(kind)}."
            )
        order = torch.tensor([names.index(name) for name in rows[role]])
        tensors |= _tensors(giver, f"{role}_nets.{places[role]}.", order)
        places[role] += 1
    model.load_state_dict(tensors)
    model.save_pretrained(output)
    processors[0].save_pretrained(output)


def _whole(
    like: CfcSpConfig,
    of_groups: Sequence[str],
    of_labels: Sequence[str],
    coarse_nets: Mapping[str, Path],
    fine_nets: Mapping[str, Path],
    smoothing_window: int,
) -> CfcSpConfig:
    """Build the configuration of the whole: the paper's eight classes in its order, or those of the nets."""
    group_of = {label: name for name, members in PAPER.group_table.items() for label in members}
    labels = [name for name in of_groups if name not in {group_of.get(label, label) for label in of_labels}]
    labels += of_labels
    if sorted(labels) == sorted(PAPER.label_names):
        labels = PAPER.label_names
    fields = {name: value for name, value in like.to_dict().items() if name not in OF_EACH_RUN}
    fields |= {"coarse_nets": list(coarse_nets), "fine_nets": list(fine_nets), "smoothing_window": smoothing_window}
    config = CfcSpConfig.from_dict(fields | {"id2label": dict(enumerate(labels)), "label2id": None, "groups": {}})
    return cast(CfcSpConfig, config)


def _load(role: str, kind: str, checkpoint: Path) -> CfcSpForVideoClassification:
    if not (checkpoint / "config.json").is_file():
        raise ValueError(
            f"Expected a run or a checkpoint with a config.json in {checkpoint}, found none. "
            f"Train the {role} {kind} by training/recipes/{RECIPES[role].format(kind)}."
        )
    model = AutoModelForVideoClassification.from_pretrained(checkpoint, dtype=torch.float32)
    if not isinstance(model, CfcSpForVideoClassification):
        raise ValueError(f"Expected a checkpoint of CFC-SP in {checkpoint}, got a {type(model).__name__}.")
    if model.config.coarse_nets != [kind] or len(model.fine_nets):
        raise ValueError(
            f"Expected one {kind} and nothing else in {checkpoint}, whose nets are "
            f"{', '.join([*model.config.coarse_nets, *model.config.fine_nets[: len(model.fine_nets)]])}. "
            f"Train it by training/recipes/{RECIPES[role].format(kind)}."
        )
    return model


def _tensors(giver: CfcSpForVideoClassification, prefix: str, order: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the weights of a net under the names and in the order of classes that they have in the whole."""
    net = giver.coarse_nets[0]
    last = f"head.{len(cast(torch.nn.Sequential, net.head)) - 1}."
    return {
        prefix + name: tensor[order] if name.startswith(last) else tensor for name, tensor in net.state_dict().items()
    }


def _shared(config: CfcSpConfig) -> dict[str, Any]:
    return {name: value for name, value in config.to_dict().items() if name not in OF_EACH_RUN}


def _checkpoint_of(word: str) -> tuple[str, Path]:
    kind, _, place = word.partition("=")
    if kind not in NETS or not place:
        raise argparse.ArgumentTypeError(
            f"expected a net and its run, such as swin=runs/cfc_swin, got {word!r}; nets are {', '.join(NETS)}"
        )
    run = RunFolder(Path(place))
    return kind, run.checkpoint if run.checkpoint.is_dir() else run.folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    for role, of_paper in (("coarse", PAPER.coarse_nets), ("fine", PAPER.fine_nets)):
        parser.add_argument(
            f"--{role}",
            nargs="+",
            type=_checkpoint_of,
            required=True,
            metavar="net=run",
            help=f"run or checkpoint of each {role} net; the paper's are {', '.join(of_paper)}",
        )
    parser.add_argument("--smoothing-window", type=int, default=PAPER.smoothing_window, help="w of Eq. 1")
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoint to write")


def main(arguments: argparse.Namespace) -> int:
    """Run the assembly that the command line asks for."""
    assemble(
        arguments.output,
        coarse_nets=dict(arguments.coarse),
        fine_nets=dict(arguments.fine),
        smoothing_window=arguments.smoothing_window,
    )
    return 0


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(command_line)
    sys.exit(main(command_line.parse_args()))
