"""Write the reference of the manual from docstrings: `python docs/tools/reference.py` writes `docs/reference.md`.

Sources are read and not imported, so that this takes no time and needs no package.
"""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference.md"
WIDTH = 119
SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises")
HEAD = """\
# Reference

What each public name takes, gives and raises, from its docstring. `python docs/tools/reference.py` writes this page.
For what to do with it, see the [quick start in Python](quickstart-practitioner.md) and [how to](index.md#how-to).

Arrays follow one convention: clips are `(batch, num_frames, channels, height, width)`, pictures are uint8 RGB
`(height, width, 3)`, boxes are `(left, top, right, bottom)` in pixels, and times are in seconds.
"""


@dataclass(frozen=True)
class Chapter:
    """Names of one file.

    Args:
        title: Heading above them.
        path: File, from the root.
        names: Functions, classes and, with a dot, their methods.
    """

    title: str
    path: str
    names: Sequence[str]


SYSTEMS = ("aen", "nr_dfernet", "cfc_sp", "keypoint_gcn", "m3dfel", "former_dfer", "frame_resnet", "r3d", "resnet_rnn")
CHAPTERS = (
    Chapter("Predict", "dfer_hf/predictor.py", (
        "VideoPredictor", "VideoPredictor.from_pretrained", "VideoPredictor.__call__",
    )),
    Chapter("Predict with several", "dfer_hf/prediction_run.py", ("predict_together",)),
    Chapter("Predictions", "dfer_hf/prediction.py", (
        "ClipPrediction", "ClipPrediction.to_dict", "ClipPrediction.to_json", "ClipPrediction.to_rows",
        "ClipPrediction.to_csv", "ClipPrediction.save_maps", "FacePrediction", "FramePrediction", "FaceExplanation",
        "Scores",
    )),
    Chapter("Comparisons", "dfer_hf/comparison.py", ("compare", "FaceComparison", "Stretch")),
    Chapter("Explain", "dfer_hf/explain/options.py", ("ExplainOptions",)),
    Chapter("Explain with torch", "dfer_hf/explain/spatial.py", ("methods_for", "explain_places")),
    Chapter("Targets of explanations", "dfer_hf/explain/targets.py", ("Target",)),
    Chapter("Checkpoints", "dfer_hf/checkpoints.py", ("shipped_checkpoints", "find_checkpoint", "load_checkpoint")),
    Chapter("List of systems", "dfer_hf/__init__.py", ("systems",)),
    Chapter("Files", "dfer_hf/video/probe.py", ("VideoLimits", "VideoInfo", "probe")),
    Chapter("Sources", "dfer_hf/video/sources.py", ("open_source",)),
    Chapter("Faces", "dfer_hf/faces/detection.py", ("FaceDetector", "Detection", "MtcnnFaceDetector")),
    Chapter("Video processor", "dfer_hf/faces/video_processing_dfer.py", ("DferVideoProcessor",)),
    Chapter("Every system", "dfer_hf/models/configuration_dfer.py", ("DferConfig", "DferConfig.from_preset")),
    Chapter("What a model returns", "dfer_hf/models/modeling_dfer.py", ("DferOutput",)),
    *(Chapter(f"Configuration of {x}", f"dfer_hf/models/configuration_{x}.py", ("*Config",)) for x in SYSTEMS),
    *(Chapter(f"Model of {x}", f"dfer_hf/models/modeling_{x}.py", (
        "*ForVideoClassification", "*ForVideoClassification.forward")) for x in SYSTEMS),
)  # fmt: skip


def render(chapters: Sequence[Chapter] = CHAPTERS, root: Path = ROOT) -> str:
    """Return the page."""
    lines = [HEAD]
    for chapter in chapters:
        tree = ast.parse((root / chapter.path).read_text(encoding="utf-8"))
        module = chapter.path.removesuffix(".py").replace("/", ".")
        lines.append(f"## {chapter.title.replace('_', ' ')}\n\nIn `{module}`.\n")
        for name in chapter.names:
            lines += _entry(*_find(tree, name, chapter.path))
    return "\n".join(lines).rstrip() + "\n"


def _find(tree: ast.Module, name: str, path: str) -> tuple[str, ast.AST, ast.AST]:
    """Look a name up, whose first part may begin with `*`: its full name, its node and the one around it."""
    first, _, method = name.partition(".")
    pattern = re.compile(re.escape(first).replace(r"\*", r"\w+") + "$")
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and pattern.match(node.name):
            if not method:
                return node.name, node, tree
            for inner in getattr(node, "body", ()):
                if isinstance(inner, ast.FunctionDef) and inner.name == method:
                    return f"{node.name}.{method}", inner, node
    raise ValueError(f"Expected {name} in {path}, found none. Correct the chapters of {Path(__file__).name}.")


def _entry(name: str, node: ast.AST, around: ast.AST) -> Iterator[str]:
    docstring = ast.get_docstring(node)  # pyright: ignore[reportArgumentType]
    if not docstring:
        raise ValueError(f"Expected a docstring of {name}, found none. Write one.")
    shown = name.removesuffix(".__call__")
    yield f"### {shown}" + (" called" if shown != name else "") + "\n"
    if isinstance(node, ast.FunctionDef):
        yield f"```text\n{_signature(shown, node, is_method=isinstance(around, ast.ClassDef))}\n```\n"
    defaults = dict(_defaults(node)) if isinstance(node, ast.ClassDef) else {}
    yield from _docstring(docstring, defaults)
    properties = list(_properties(node)) if isinstance(node, ast.ClassDef) else []
    if properties:
        yield "Properties:\n"
        yield from properties
        yield ""


def _properties(node: ast.ClassDef) -> Iterator[str]:
    for line in node.body:
        marks = [ast.unparse(mark) for mark in line.decorator_list] if isinstance(line, ast.FunctionDef) else []
        if isinstance(line, ast.FunctionDef) and "property" in marks and not line.name.startswith("_"):
            yield _filled(f"- `.{line.name}`: {(ast.get_docstring(line) or '').partition(chr(10))[0]}", "  ")


def _signature(name: str, node: ast.FunctionDef, *, is_method: bool) -> str:
    arguments = node.args
    if is_method:
        arguments.args = arguments.args[1:]
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    written = re.sub(r"(: [^,=]+)=", r"\1 = ", ast.unparse(arguments))
    line = f"{name}({written}){returned}"
    if len(line) <= WIDTH:
        return line
    inner = re.sub(r", (?=(?:\*\*?|\w+:|\w+=|\*))(?![^\[\(]*[\]\)])", ",\n    ", written)
    return f"{name}(\n    {inner},\n){returned}"


def _defaults(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for line in node.body:
        if not isinstance(line, ast.AnnAssign) or not isinstance(line.target, ast.Name) or line.value is None:
            continue
        value: ast.AST = line.value
        if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
            made = {word.arg: word.value for word in value.keywords}
            value = made.get("default") or made.get("default_factory") or value
        value = value.body if isinstance(value, ast.Lambda) else value
        yield line.target.id, ast.unparse(value)


def _docstring(text: str, defaults: dict[str, str]) -> Iterator[str]:
    """Turn a docstring in Google's style into Markdown."""
    for part in re.split(rf"\n(?=(?:{'|'.join(SECTIONS)}):\n)", text):
        title, _, body = part.partition(":\n")
        if title not in SECTIONS:
            yield from _paragraphs(part)
            continue
        body = textwrap.dedent(body)
        if title in ("Returns", "Yields"):
            yield from _paragraphs(f"{title}: {body}")
            continue
        if title == "Raises":
            yield "Raises:\n"
        for item in re.split(r"\n(?=\S)", body.strip("\n")):
            name, _, said = item.partition(": ")
            default = f" ({defaults[name]})" if len(defaults.get(name, "x" * 99)) < 60 else ""
            yield _filled(f"- `{name}`{default}: {' '.join(said.split())}", "  ")
        yield ""


def _paragraphs(text: str) -> Iterator[str]:
    for block in re.split(r"\n\s*\n", text.strip()):
        for item in re.split(r"\n(?=- )", block):
            yield _filled(" ".join(item.split()), "  " if item.startswith("- ") else "")
        yield ""


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
