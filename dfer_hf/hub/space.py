"""Write the folder of a Space of the Hub that shows the page."""

import json
import re
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from huggingface_hub import SpaceCardData

from .. import __version__
from ..checkpoints import CARD, CONFIG, PROCESSOR, WEIGHTS, shipped_checkpoints, shipped_folder
from .space_start import APP, MANIFEST, SERVE
from .wheel import EXAMPLES, PAGE, files_below, installed, requirements, write_wheel

HARDWARE = {"zero": "zero-a10g", "cpu": "cpu-basic"}
"""What `--hardware` may be, and what the Hub calls it."""

PYTHON = "3.12"
ZERO_TORCH = "torch>=2.8,<2.12"
"""What ZeroGPU runs."""

REQUIREMENTS = "requirements.txt"
SHORT = "Facial expressions in video, moment by moment, explained"
TEXT = """# Facial expressions in video

Finds the faces in a short video or an image, says which expression each one shows moment by moment, and marks what the
answer rests on. An expression is not an emotion, and the answers are often wrong: upload only people who agreed to it.

This Space was written by `dfer space`. `{wheel}` is the package, which is on no index: `app.py` unpacks it when the
Space starts, since `{requirements}` is installed where the other files are not.
"""


class SpaceError(ValueError):
    """A Space cannot be written, or a folder is none."""


def write_space(folder: Path, *, hardware: str = "zero", namespace: str | None = None) -> list[Path]:
    """Write everything that a Space needs.

    Args:
        folder: Where to: a new or empty folder, or one that was written by this, which is written anew.
        hardware: One of `HARDWARE`.
        namespace: Of the Hub, where `dfer push --all` has put the checkpoints, which the Space then loads from there,
            at its build; without one they go along in the wheel.

    Returns:
        The files, sorted.

    Raises:
        SpaceError: If the folder holds anything else, or there is no such hardware.
        NotInstalledError: If the package was not installed.
    """
    if hardware not in HARDWARE:
        raise SpaceError(f"Expected one of {', '.join(HARDWARE)} as hardware, got {hardware!r}.")
    page = shipped_folder(PAGE)
    app = next((file for file in (page / APP, page.parent / APP) if file.is_file()), None)
    if app is None:
        raise SpaceError(f"Expected the page's {APP} beside the package, found none. Install dfer-hf again.")
    # Files of the passing folder beside it may not lie in it, as they would beside `.`.
    folder = folder.resolve()
    check_is_ours(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        names = _write_files(Path(scratch), page=page, app=app, hardware=hardware, namespace=namespace)
        remove_space(folder)
        # The list of files first: a folder with some of them is a Space of ours, whatever interrupts.
        for name in (MANIFEST, *names):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(Path(scratch) / name, target)
    return sorted(folder / name for name in (MANIFEST, *names))


def _write_files(folder: Path, *, page: Path, app: Path, hardware: str, namespace: str | None) -> list[str]:
    """Write a Space into an empty folder; return its files but for the list of them."""
    wheel = write_wheel(folder, with_checkpoints=namespace is None)
    models = [f"{namespace}/{name}" for name in shipped_checkpoints()] if namespace else []
    shutil.copyfile(Path(__file__).with_name("space_start.py"), folder / APP)
    shutil.copyfile(app, folder / SERVE)
    for source, name in ((page, PAGE), (shipped_folder(EXAMPLES), EXAMPLES)):
        for file in files_below(source):
            if file != app:
                target = folder / name / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)
    (folder / REQUIREMENTS).write_text("\n".join(space_requirements(hardware)) + "\n", encoding="utf-8")
    head = front_matter(hardware=hardware, models=models)
    text = TEXT.format(wheel=wheel.name, requirements=REQUIREMENTS)
    (folder / CARD).write_text(f"---\n{head}\n---\n\n{text}", encoding="utf-8")
    names = [file.relative_to(folder).as_posix() for file in files_below(folder)]
    content = {"version": __version__, "hardware": hardware, "models": models, "files": [*names, MANIFEST]}
    (folder / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return names


def remove_space(folder: Path) -> None:
    """Remove the files of a Space that was written here; refuse any other folder that is not empty.

    Raises:
        SpaceError: If the folder holds anything else.
    """
    for name in check_is_ours(folder):
        (folder / name).unlink(missing_ok=True)


def check_is_ours(folder: Path) -> list[str]:
    """Name the files of a Space that was written here, none for a new or empty folder; refuse any other.

    Raises:
        SpaceError: If the folder holds anything else.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return []
    names = files_of_space(folder)
    held = {file.relative_to(folder).as_posix() for file in files_below(folder)}
    strangers = sorted(held - set(names))
    if strangers:
        raise SpaceError(
            f"Expected a Space that `dfer space` wrote in {str(folder)!r}, but {', '.join(strangers[:5])} "
            "is not of it. Move that away, or name another folder."
        )
    return names


def files_of_space(folder: Path) -> list[str]:
    """Names of the files that `write_space` wrote into a folder.

    Raises:
        SpaceError: If it did not.
    """
    try:
        names = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpaceError(
            f"Expected a new folder, or a Space that `dfer space` wrote, but {str(folder)!r} is neither. "
            "Name another folder."
        ) from error
    inside = all(
        isinstance(name, str) and (folder / name).resolve().is_relative_to(folder.resolve()) for name in names
    )
    if not inside:
        raise SpaceError(f"Expected names of files in {str(folder / MANIFEST)!r}, got others. Name another folder.")
    return names


def space_requirements(hardware: str) -> list[str]:
    """Lines of the requirements: what the package needs, with the torch that the hardware runs.

    Gradio is not among them: the Hub installs the version that the front matter names.
    """
    lines = requirements()
    if hardware == "zero":
        lines = [ZERO_TORCH if re.match(r"torch\b", line) else line for line in lines] + ["spaces"]
    return lines


def front_matter(*, hardware: str, models: list[str]) -> str:
    """The metadata of a Space as YAML.

    Args:
        hardware: One of `HARDWARE`.
        models: Repositories of the Hub that are loaded while the Space is built.
    """
    loaded = [f"{model} {CARD},{CONFIG},{PROCESSOR},{WEIGHTS}" for model in models]
    data = SpaceCardData(
        title="Facial expressions in video",
        emoji="🎬",
        colorFrom="green",
        colorTo="blue",
        sdk="gradio",
        sdk_version=gradio_version(),
        python_version=PYTHON,
        app_file=APP,
        license="apache-2.0",
        short_description=SHORT,
        suggested_hardware=HARDWARE[hardware],
        startup_duration_timeout="30m",
        models=models or None,
        preload_from_hub=loaded or None,
        tags=["facial-expression-recognition", "video-classification"],
    )
    return data.to_yaml()


def gradio_version() -> str:
    """The version that the page is known to run with: the installed one, or the oldest that is allowed."""
    try:
        return version("gradio")
    except PackageNotFoundError:
        oldest = re.search(r"gradio\b[^;]*>=([\d.]+)", "\n".join(installed().requires or []))
        return f"{oldest[1]}.0" if oldest else "6.31.0"
