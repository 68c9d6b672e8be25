"""Save code beside what it belongs to, so that it loads where this package is not installed; is copied itself."""

import inspect
import json
import os
import re
from pathlib import Path
from typing import Any

from transformers.utils import PushToHubMixin

_RELATIVE_IMPORT = re.compile(r"^(\s*from\s+)(\.+)((?:\w+\.)*)(\w+)(?=\s+import\b)", re.MULTILINE)


class SavedWithCode(PushToHubMixin):
    """Lets configurations and processors save, and push, all that `trust_remote_code=True` needs.

    Every model saves its configuration, and that brings the model's code along.
    """

    @classmethod
    def register_for_auto_class(cls, auto_class: object = None) -> None:
        """Do nothing: code is saved without this, and transformers' own way knows of one folder only."""

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: Any) -> Any:
        """Save as transformers does, copy the code, and tell the auto classes of it.

        Args:
            save_directory: Where to; made if missing.
            push_to_hub: Whether to upload as well.
            **kwargs: What `push_to_hub` takes; `repo_id` is the name of the folder if left out.
        """
        saved = super().save_pretrained(save_directory)
        folder, module = Path(save_directory), type(self).__module__.rpartition(".")[2]
        # A class of somebody else's is left to transformers.
        if module.startswith(("configuration_", "video_processing_dfer")):
            _add_code(folder, Path(inspect.getfile(type(self))), type(self).__name__)
        if push_to_hub:
            self.push_to_hub(kwargs.pop("repo_id", folder.name), **kwargs)
        return saved


def code_files(*sources: Path) -> list[Path]:
    """Source files and those of this package that they import, and so on, sorted."""
    found: set[Path] = set()
    waiting = set(sources)
    while waiting:
        source = waiting.pop()
        found.add(source)
        for _, dots, folders, name in _RELATIVE_IMPORT.findall(source.read_text(encoding="utf-8")):
            waiting.add(source.parents[len(dots) - 1] / folders.replace(".", "/") / f"{name}.py")
        waiting -= found
    return sorted(found)


def _add_code(folder: Path, source: Path, name: str) -> None:
    """Copy the code of a class of this package into one flat folder, and name it in the file that was saved there."""
    saved, sources = folder / "video_preprocessor_config.json", [source]
    auto_map = {"AutoVideoProcessor": f"{source.stem}.{name}"}
    if source.stem.startswith("configuration_"):
        saved, model = folder / "config.json", source.stem.replace("configuration_", "modeling_")
        model_name = f"{model}.{name.removesuffix('Config')}ForVideoClassification"
        auto_map = {"AutoConfig": f"{source.stem}.{name}"}
        auto_map |= dict.fromkeys(("AutoModel", "AutoModelForVideoClassification"), model_name)
        # Beside a configuration that transformers fetched from a folder, only what it imports lies.
        sources += [path for path in [source.with_name(f"{model}.py")] if path.is_file()]
    for file in code_files(*sources):
        text = _RELATIVE_IMPORT.sub(r"\1.\4", file.read_text(encoding="utf-8"))
        (folder / file.name).write_text(text, encoding="utf-8", newline="\n")
    content = json.loads(saved.read_text(encoding="utf-8")) | {"auto_map": auto_map}
    saved.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
