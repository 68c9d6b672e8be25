"""Read the tensors of a `.pth` file without running anything that is in it: the one place that unpickles."""

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Keys under which training code keeps the tensors beside epochs and optimisers."""

PASSED_OVER = (
    # Options and curves that Former-DFER, M3DFEL and IAL save beside their weights.
    "argparse.Namespace",
    "__main__.RecorderMeter",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
)
"""What is read as something empty: nothing of these is imported, called or kept."""


class ConversionError(ValueError):
    """A file cannot be converted."""


class NotTensorsError(ConversionError):
    """The file is no checkpoint, or unpickling it would run code."""


class _PassedOver:
    """Takes the place of an object that is not wanted."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "_PassedOver":
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    def __setstate__(self, _state: Any) -> None:
        pass


def read_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a file that `torch.save` or safetensors wrote.

    Of the dictionary that training code saves, the weights are taken; `module.`, which DataParallel puts before
    names, is taken off.

    Args:
        file: A `.pth`, `.pt`, `.bin` or `.safetensors`.

    Raises:
        NotTensorsError: If it is no such file, has anything else than tensors in it that would have to be built by
            code of its own, or has no tensors by name.
        OSError: If it cannot be read.
    """
    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except SafetensorError as error:
            raise NotTensorsError(f"Expected safetensors in {file.name!r}: {error}. Download it again.") from error
    stand_ins: list[Any] = [(_PassedOver, name) for name in PASSED_OVER]
    try:
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            # Of old ways to pickle, which are read all the same.
            warnings.simplefilter("ignore")
            content = torch.load(file, map_location="cpu", weights_only=True)
    # What torch raises for files of other kinds has no one name.
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
    ) as error:
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
        if forbidden:
            raise NotTensorsError(
                f"Expected nothing but tensors in {file.name!r}, but reading it would call or build "
                f"{forbidden[1]}, which may run code. If you trust where it is from, load it there, and save its "
                "`state_dict` alone."
            ) from error
        raise NotTensorsError(
            f"Expected what `torch.save` wrote in {file.name!r}, but it is something else or damaged "
            f"({type(error).__name__}). Download it again, or save the model's `state_dict` alone."
        ) from error
    return _named_tensors(content, file)


def _named_tensors(content: Any, file: Path) -> dict[str, torch.Tensor]:
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping) or not content:
        raise NotTensorsError(f"Expected tensors by name in {file.name!r}, got {type(content).__name__}.")
    others = [name for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise NotTensorsError(
            f"Expected tensors by name in {file.name!r}, but {', '.join(map(str, others[:3]))} is none. Save the "
            "model's `state_dict` alone."
        )
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in content.items()}
    if len(tensors) < len(content):
        raise NotTensorsError(f"Expected each name once in {file.name!r}, but some come with and without `module.`.")
    return tensors
