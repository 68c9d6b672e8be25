"""Find what ships with the package, and checkpoints by name: shipped ones, folders, repositories of the Hub."""

import re
from pathlib import Path

DEFAULT_CHECKPOINT = "dfer-aen-small"


def shipped_folder(name: str) -> Path:
    """Folder of the repository, such as `examples`: inside the package when installed, beside it otherwise."""
    package = Path(__file__).resolve().parent
    packaged = package / name
    return packaged if packaged.is_dir() else package.parent / name


def shipped_checkpoints() -> dict[str, Path]:
    """Names and folders of the checkpoints with weights that came with this installation."""
    weights = sorted(shipped_folder("model_cards").glob("*/model.safetensors"))
    return {path.parent.name: path.parent for path in weights}


def find_checkpoint(name_or_path: str | Path) -> str:
    """Resolve a shipped name, a folder or a Hub id to what `from_pretrained` takes.

    Raises:
        ValueError: If it is none of the three.
    """
    shipped = shipped_checkpoints()
    if str(name_or_path) in shipped:
        return str(shipped[str(name_or_path)])
    if Path(name_or_path).is_dir():
        if not (Path(name_or_path) / "config.json").is_file():
            raise ValueError(
                f"Expected a checkpoint with a config.json in the folder {Path(name_or_path).name!r}."
            )
        return str(name_or_path)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", str(name_or_path)):
        return str(name_or_path)
    raise ValueError(
        f"Unknown model {str(name_or_path)!r}: expected one of {', '.join(shipped) or 'no shipped checkpoints'}, "
        "a folder with a checkpoint, or a Hub id such as user/name."
    )
