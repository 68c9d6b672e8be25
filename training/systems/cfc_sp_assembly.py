"""Put trained nets of CFC-SP together to one system, or change how it is made up.

    python -m training.systems.cfc_sp_assembly swin=runs/cfc_swin iresnet=runs/cfc_iresnet hrnet=runs/cfc_hrnet \
        repvgg=runs/cfc_repvgg --output runs/cfc_sp

The nets share no weights, and each kind is trained by a recipe of its own (`cfc_sp_aff_wild2_<net>.toml`), as in the
first author's code; every row of the paper's Tables 2 and 4 is made of the same four runs.
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

PAPER = CfcSpConfig()
MADE_UP_OF = ("coarse_nets", "fine_nets", "smoothing_window")
ROLES = ("coarse_nets", "fine_nets")


def assemble(
    checkpoints: Mapping[str, Path],
    output: Path,
    *,
    coarse_nets: Sequence[str],
    fine_nets: Sequence[str],
    smoothing_window: int = PAPER.smoothing_window,
) -> None:
    """Write the checkpoint of a system whose nets were trained apart.

    Args:
        checkpoints: Kind of net to the checkpoint of this system that holds it.
        output: Folder to write.
        coarse_nets: Kinds that vote on the group.
        fine_nets: Kinds that vote on the class inside a group.
        smoothing_window: As in `CfcSpConfig`.

    Raises:
        ValueError: If a kind has no checkpoint, its checkpoint does not hold it or is no CFC-SP, or the checkpoints
            differ in classes, sizes or processor.
    """
    wanted = {"coarse_nets": list(coarse_nets), "fine_nets": list(fine_nets)}
    kinds = list(dict.fromkeys([*coarse_nets, *fine_nets]))
    missing = [kind for kind in kinds if kind not in checkpoints]
    if missing:
        raise ValueError(
            f"Expected a checkpoint for every net, got none for {', '.join(missing)}. "
            f"Train {missing[0]} by training/recipes/cfc_sp_aff_wild2_{missing[0]}.toml."
        )
    givers = {kind: _load(checkpoints[kind]) for kind in kinds}
    processors = {kind: AutoVideoProcessor.from_pretrained(checkpoints[kind]) for kind in kinds}
    for kind in kinds[1:]:
        differing = _differing(_shared(givers[kinds[0]].config), _shared(givers[kind].config))
        differing += _differing(processors[kinds[0]].to_dict(), processors[kind].to_dict())
        if differing:
            raise ValueError(
                f"Expected nets that were trained alike, but {kinds[0]} and {kind} differ in {', '.join(differing)}. "
                "Train them on one corpus and cache, with the same classes, sizes and normalisation."
            )
    config = givers[kinds[0]].config.to_dict() | wanted | {"smoothing_window": smoothing_window}
    model = CfcSpForVideoClassification(cast(CfcSpConfig, CfcSpConfig.from_dict(config)))
    tensors: dict[str, torch.Tensor] = {}
    for role in ROLES:
        for place, kind in enumerate(
            wanted[role][: len(getattr(model, role))]
            # No fine nets without classes.
        ):
            tensors |= _tensors(givers[kind], role, kind, f"{role}.{place}.")
    model.load_state_dict(tensors)
    model.save_pretrained(output)
    processors[kinds[0]].save_pretrained(output)


def _load(checkpoint: Path) -> CfcSpForVideoClassification:
    if not (checkpoint / "config.json").is_file():
        raise ValueError(f"Expected a run or a checkpoint with a config.json in {checkpoint}, found none.")
    model = AutoModelForVideoClassification.from_pretrained(checkpoint, dtype=torch.float32)
    if not isinstance(model, CfcSpForVideoClassification):
        raise ValueError(f"Expected a checkpoint of CFC-SP in {checkpoint}, got a {type(model).__name__}.")
    return model


def _tensors(giver: CfcSpForVideoClassification, role: str, kind: str, prefix: str) -> dict[str, torch.Tensor]:
    """Weights of a net under the names they have in the whole."""
    held = getattr(giver.config, role)
    if kind not in held:
        raise ValueError(
            f"Expected {kind} among the `{role}` of its checkpoint, which are {', '.join(held)}. "
            f"Train it by training/recipes/cfc_sp_aff_wild2_{kind}.toml, or name the checkpoint that holds it."
        )
    own = f"{role}.{held.index(kind)}."
    return {
        prefix + name.removeprefix(own): tensor for name, tensor in giver.state_dict().items() if name.startswith(own)
    }


def _shared(config: CfcSpConfig) -> dict[str, Any]:
    passing = (*MADE_UP_OF, "_name_or_path", "transformers_version")
    return {name: value for name, value in config.to_dict().items() if name not in passing}


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))


def _checkpoint_of(word: str) -> tuple[str, Path]:
    kind, _, place = word.partition("=")
    if kind not in NETS or not place:
        raise argparse.ArgumentTypeError(
            f"expected a net and its run, such as swin=runs/cfc_swin, got {word!r}; nets are {', '.join(NETS)}"
        )
    run = Path(place)
    return kind, run / "checkpoint" if (run / "checkpoint").is_dir() else run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "nets", nargs="+", type=_checkpoint_of, metavar="net=run", help="run or checkpoint of each kind of net"
    )
    parser.add_argument("--coarse", nargs="+", choices=NETS, default=PAPER.coarse_nets, help="default: the paper's")
    parser.add_argument("--fine", nargs="+", choices=NETS, default=PAPER.fine_nets, help="default: the paper's")
    parser.add_argument("--smoothing-window", type=int, default=PAPER.smoothing_window, help="w of Eq. 1")
    parser.add_argument("--output", type=Path, required=True, help="folder of the checkpoint to write")


def main(arguments: argparse.Namespace) -> int:
    """Assemble as the command line says."""
    assemble(
        dict(arguments.nets),
        arguments.output,
        coarse_nets=arguments.coarse,
        fine_nets=arguments.fine,
        smoothing_window=arguments.smoothing_window,
    )
    return 0


if __name__ == "__main__":
    command_line = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(command_line)
    sys.exit(main(command_line.parse_args()))
