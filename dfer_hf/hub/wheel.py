"""Write a wheel of this package as it is installed, or as it lies in a checkout, without any build tool."""

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from .. import __version__
from ..checkpoints import shipped_folder

NAME = "dfer_hf"
COMMANDS = ("dfer_cli.py", "dfer_inputs.py", "dfer_start.py")
CARDS, EXAMPLES, PAGE = "model_cards", "examples", "page"
# A fixed time, so that the same files make the same wheel.
_MADE_AT = (2026, 1, 1, 0, 0, 0)


class NotInstalledError(ValueError):
    """The package is imported from where nothing says what it needs."""


def installed() -> Distribution:
    """What is known of the installation.

    Raises:
        NotInstalledError: If the package was not installed.
    """
    try:
        return distribution("dfer-hf")
    except PackageNotFoundError as error:
        raise NotInstalledError(
            "Expected dfer-hf to be installed, found none. Run `make setup`, or `pip install .`"
        ) from error


def requirements() -> list[str]:
    """What the package needs, without its extras, such as `torch>=2.8`."""
    return sorted(line for line in installed().requires or [] if "extra ==" not in line)


def write_wheel(folder: Path, *, with_checkpoints: bool = True) -> Path:
    """Write the wheel.

    Args:
        folder: Where to.
        with_checkpoints: Whether the shipped checkpoints go along, which are nearly all of its size.

    Returns:
        The file, named by the version.

    Raises:
        NotInstalledError: If the package was not installed.
    """
    about = f"{NAME}-{__version__}.dist-info"
    metadata = installed().read_text("METADATA") or ""
    # An installation that points to a checkout remembers the version that it was made from.
    metadata = re.sub(r"^Version: .*$", f"Version: {__version__}", metadata, count=1, flags=re.MULTILINE)
    texts = {
        f"{about}/METADATA": metadata,
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: dfer_hf\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": "[console_scripts]\ndfer = dfer_start:run\n",
    }
    records = []
    path = folder / f"{NAME}-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:

        def add(name: str, content: bytes) -> None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            records.append(f"{name},sha256={digest},{len(content)}\n")
            entry = zipfile.ZipInfo(name, _MADE_AT)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)

        for name, file in _files(with_checkpoints=with_checkpoints):
            add(name, file.read_bytes())
        for name, text in texts.items():
            add(name, text.encode())
        archive.writestr(zipfile.ZipInfo(f"{about}/RECORD", _MADE_AT), "".join(records) + f"{about}/RECORD,,\n")
    return path


def _files(*, with_checkpoints: bool) -> Iterator[tuple[str, Path]]:
    """Names in the wheel, and the files themselves."""
    package = Path(__file__).resolve().parent.parent
    for command in COMMANDS:
        yield command, package.parent / command
    folders = [shipped_folder(CARDS)] * with_checkpoints + [shipped_folder(EXAMPLES)]
    for folder in folders:
        for file in files_below(folder):
            yield f"{NAME}/{folder.name}/{file.relative_to(folder).as_posix()}", file
    for file in files_below(package):
        # The page is not needed by what is installed, and the others have been listed.
        if file.relative_to(package).parts[0] not in (CARDS, EXAMPLES, PAGE):
            yield f"{NAME}/{file.relative_to(package).as_posix()}", file


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder that belongs to it, sorted."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".pyc", ".pyi"))
    return sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))
