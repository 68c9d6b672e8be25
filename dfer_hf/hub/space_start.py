"""Starts the page on a Space of the Hub: `dfer space` copies this file there as app.py.

Only requirements.txt is there when the Hub installs what a Space needs, and this package is on no index. So it lies
beside this file as a wheel, is unpacked here, and is imported from where it was unpacked.
"""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

APP, SERVE, MANIFEST = "app.py", "serve.py", "dfer_space.json"


def unpack_package(folder: Path, target: Path) -> None:
    """Unpack the wheel of a Space, and put what it holds first on the path.

    Args:
        folder: Of the Space.
        target: Where to.
    """
    (wheel,) = folder.glob("dfer_hf-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    sys.path.insert(0, str(target))


def place_checkpoints(folder: Path, target: Path) -> None:
    """Put the checkpoints that the Hub loaded while the Space was built where the package looks for its own.

    Args:
        folder: Of the Space.
        target: Where the package was unpacked.
    """
    for model in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["models"]:
        from huggingface_hub import snapshot_download

        place = target / "dfer_hf" / "model_cards" / model.partition("/")[2]
        shutil.copytree(snapshot_download(model, allow_patterns=["*.json", "*.safetensors", "README.md"]), place)


def main() -> None:
    """Unpack, load, and show the page until the Space is stopped."""
    # On ZeroGPU it must be imported before torch is.
    with suppress(ImportError):
        import spaces  # noqa: F401  # pyright: ignore[reportMissingImports]
    folder = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory(prefix="dfer-package-", ignore_cleanup_errors=True) as temporary:
        unpack_package(folder, Path(temporary))
        place_checkpoints(folder, Path(temporary))
        os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
        sys.path.insert(0, str(folder))
        from serve import main as serve  # pyright: ignore[reportMissingImports]

        serve()


if __name__ == "__main__":
    main()
