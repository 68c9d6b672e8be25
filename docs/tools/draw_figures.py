"""Draw the diagrams of the manual: `python docs/tools/draw_figures.py` writes them into `docs/figures/`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from diagram import Box, draw  # pyright: ignore[reportMissingImports]

FOLDER = Path(__file__).resolve().parents[1] / "figures"


def way_of_a_clip() -> str:
    """From a file to an answer, the same for every system."""
    boxes = {
        "file": Box(0, 0, "video, picture,\nframes or camera", "data"),
        "read": Box(1, 0, "read as a player\nshows it", "rule"),
        "find": Box(2, 0, "find and follow\neach face", "frozen"),
        "align": Box(3, 0, "align by five points:\n112×112 pixels", "rule"),
        "model": Box(4, 0, "one of nine systems"),
        "answer": Box(5, 0, "what clip and frames\nshow, what each\nframe weighs", "answer"),
        "explain": Box(4, 1, "explain: where,\nwhen, in words", "rule"),
        "files": Box(5, 1, "JSON, CSV, overlay,\nHTML report, page", "answer"),
    }
    arrows = ["file > read", "read > find", "find > align", "align > model", "model > answer", "model > explain",
              "answer > files", "explain > files"]  # fmt: skip
    return draw("The way of a clip from file to answer", boxes, arrows)


def aen() -> str:
    """AEN: three semantic levels, two converters, and a guide that says what each frame shows."""
    boxes = {
        "frames": Box(0, 1, "16 frames", "data"),
        "trunk": Box(1, 1, "ResNet-18,\nframe by frame"),
        "low": Box(2, 2, "stage 2: squeeze,\ntransformer → V₀"),
        "middle": Box(2, 1, "stage 3: squeeze,\ntransformer → V₁"),
        "high": Box(2, 0, "stage 4: squeeze,\ntransformer → V₂"),
        "coarse": Box(3, 1, "converter:\nV₂, V₁ → F₁"),
        "fine": Box(4, 2, "converter:\nF₁, V₀ → F₂"),
        "global": Box(4, 0, "global classifier\nof V₂"),
        "group": Box(5, 1, "group: 0.7 · local\n+ 0.3 · global", "answer"),
        "class": Box(5, 2, "class: 0.7 · local\n+ 0.3 · global", "answer"),
        "guide": Box(1, 3, "guide: ResNet-18\ntrained on stills", "frozen"),
        "said": Box(2, 3, "what each\nframe shows", "answer"),
        "temporal": Box(3, 3, "temporal loss: V near\nframes that show\nthe clip's class", "loss"),
        "whole": Box(4, 3, "global loss: local\nclassifiers near the\nmean of the frames", "loss"),
    }
    arrows = ["frames > trunk", "trunk > low", "trunk > middle", "trunk > high", "high > global", "high > coarse",
              "middle > coarse", "coarse > fine", "low > fine", "coarse > group", "fine > class", "global > group",
              "global > class", "frames > guide", "guide > said", "said ~ temporal", "low ~ temporal",
              "fine ~ whole"]  # fmt: skip
    return draw("AEN: three semantic levels, two converters and a frozen guide", boxes, arrows)


def nr_dfernet() -> str:
    """NR-DFERNet: differences beside maps, a dynamic class token, and a filter of snippets."""
    boxes = {
        "frames": Box(0, 0.5, "16 frames", "data"),
        "trunk": Box(1, 0.5, "short ResNet:\nmap of each frame"),
        "static": Box(2, 0, "static: halve, relate\nthe 16 patches"),
        "dynamic": Box(2, 1, "dynamic: difference\nfrom the next map"),
        "fused": Box(3, 0.5, "sum: 15 fused\nfeatures", "data"),
        "token": Box(4, 0, "class token = mean\nof the features", "rule"),
        "snippets": Box(4, 1, "7 snippets of 3\nfeatures, step 2", "data"),
        "temporal": Box(5, 0.5, "temporal\ntransformer"),
        "clip": Box(4, 2, "class of the clip", "data"),
        "each": Box(4, 3, "class of each snippet", "data"),
        "filter": Box(3, 2, "a snippet is clear, not\nneutral? then neutral\nis taken away", "rule"),
        "answer": Box(2, 2, "class", "answer"),
        "frame": Box(3, 3, "what each\nframe shows", "answer"),
    }
    arrows = ["frames > trunk", "trunk > static", "trunk > dynamic", "static > fused", "dynamic > fused",
              "fused > token", "fused > snippets", "token > temporal", "snippets > temporal", "temporal > clip",
              "temporal > each", "clip > filter", "each > filter", "filter > answer", "each > frame"]  # fmt: skip
    return draw("NR-DFERNet: dynamic-static fusion, dynamic class token and snippet filter", boxes, arrows)


def cfc_sp() -> str:
    """CFC-SP: an ensemble for the group, one net for the class inside it, and smoothing over time."""
    boxes = {
        "frame": Box(0, 1, "each frame", "data"),
        "swin": Box(1, 0, "Swin-S"),
        "iresnet": Box(1, 1, "IResNet-152"),
        "hrnet": Box(1, 2, "HRNet-W18"),
        "repvgg": Box(1, 3, "RepVGG-B1: anger,\ndisgust, fear, sadness"),
        "smooth": Box(2, 1, "add the mean of 256\nframes around", "rule"),
        "smooth_fine": Box(2, 3, "add the mean of 256\nframes around", "rule"),
        "vote": Box(3, 1, "mean of three\nprobabilities", "rule"),
        "group": Box(4, 1, "neutral, happiness,\nsurprise, other\nor negative", "answer"),
        "choose": Box(4, 3, "negative? then the\nclass that RepVGG\nsays", "rule"),
        "class": Box(5, 2, "class of the frame; the\nclip's is their mean", "answer"),
    }
    arrows = ["frame > swin", "frame > iresnet", "frame > hrnet", "frame > repvgg", "swin > smooth",
              "iresnet > smooth", "hrnet > smooth", "smooth > vote", "vote > group", "repvgg > smooth_fine",
              "smooth_fine > choose", "group > choose", "group > class", "choose > class"]  # fmt: skip
    return draw("CFC-SP: coarse nets vote, a fine net decides inside the negative group", boxes, arrows)


def keypoint_gcn() -> str:
    """Key-points GCN: features about 18 points, a graph between them, regions as tokens."""
    boxes = {
        "frame": Box(0, 0.5, "each of 16 frames", "data"),
        "trunk": Box(1, 0, "ResNet-18 with\ntriplet attention:\nmap of 7×7"),
        "landmarks": Box(1, 1, "landmark head:\n68 points", "frozen"),
        "points": Box(2, 1, "18 key points, each\nwith a Gaussian", "rule"),
        "local": Box(3, 0.5, "feature of each point\nand of the face", "data"),
        "graph": Box(4, 0.5, "graph convolution\nbetween neighbours"),
        "regions": Box(5, 0.5, "left eye, right eye,\nmouth, face:\none token", "rule"),
        "temporal": Box(4, 2, "temporal transformer\nover 16 tokens"),
        "clip": Box(3, 2, "class", "answer"),
        "frame_class": Box(4, 3, "classifier of\neach token"),
        "said": Box(3, 3, "what each\nframe shows", "answer"),
    }
    arrows = ["frame > trunk", "frame > landmarks", "landmarks > points", "trunk > local", "points > local",
              "local > graph", "graph > regions", "regions > temporal", "temporal > clip", "regions > frame_class",
              "frame_class > said"]  # fmt: skip
    return draw("Key-points GCN: features of 18 points, joined by a graph, fused by region", boxes, arrows)


def m3dfel() -> str:
    """M3DFEL: a clip as a bag of four short instances."""
    boxes = {
        "clip": Box(0, 0.5, "16 frames: a bag of\n4 instances of 4", "data"),
        "trunk": Box(1, 0.5, "R3D-18 over\neach instance"),
        "lstm": Box(2, 0.5, "LSTM in both\ndirections, 2 layers"),
        "attention": Box(3, 1, "attention between\nthe instances"),
        "norm": Box(4, 1, "DMIN: normalise by\ninstance and by bag"),
        "gate": Box(5, 0.5, "gate: instance\n× sigmoid", "rule"),
        "sum": Box(4, 2, "convolution over the\ninstances: one vector"),
        "answer": Box(3, 2, "class", "answer"),
        "parts": Box(4, 3, "part of each instance:\nits class and weight", "answer"),
        "loss": Box(2, 2, "cross entropy, and the\ntrue class against the\nbest wrong one", "loss"),
    }
    arrows = ["clip > trunk", "trunk > lstm", "lstm > attention", "attention > norm", "norm > gate", "lstm > gate",
              "gate > sum", "sum > answer", "sum > parts", "answer ~ loss"]  # fmt: skip
    return draw("M3DFEL: 3D instances, attention between them and dynamic aggregation", boxes, arrows)


def baselines() -> str:
    """The four baselines, one above the other."""
    boxes = {
        "f0": Box(0, 0, "each frame", "data"),
        "f1": Box(1, 0, "ResNet-18"),
        "f2": Box(2, 0, "class of the frame", "data"),
        "f3": Box(3, 0, "mean over the frames", "rule"),
        "f4": Box(4, 0, "frame recogniser", "answer"),
        "d0": Box(0, 1, "each frame", "data"),
        "d1": Box(1, 1, "ResNet-18, stages\n1 to 3"),
        "d2": Box(2, 1, "spatial transformer,\nthen stage 4"),
        "d3": Box(3, 1, "temporal\ntransformer"),
        "d4": Box(4, 1, "Former-DFER", "answer"),
        "r0": Box(0, 2, "16 frames at once", "data"),
        "r1": Box(1, 2, "3D ResNet-18, stages\n1 to 3"),
        "r2": Box(2, 2, "stage 4"),
        "r3": Box(3, 2, "mean over time\nand place", "rule"),
        "r4": Box(4, 2, "R3D-18", "answer"),
        "n0": Box(0, 3, "each frame", "data"),
        "n1": Box(1, 3, "ResNet-18"),
        "n2": Box(2, 3, "LSTM or GRU"),
        "n3": Box(3, 3, "its last state", "rule"),
        "n4": Box(4, 3, "ResNet-18 with\nLSTM or GRU", "answer"),
    }
    arrows = [f"{row}{place} > {row}{place + 1}" for row in "fdrn" for place in range(4)]
    return draw("The four baselines", boxes, arrows)


FIGURES = {
    "way_of_a_clip": way_of_a_clip, "aen": aen, "nr_dfernet": nr_dfernet, "cfc_sp": cfc_sp,
    "keypoint_gcn": keypoint_gcn, "m3dfel": m3dfel, "baselines": baselines,
}  # fmt: skip


def render(folder: Path = FOLDER) -> dict[Path, str]:
    """What each file should hold."""
    return {folder / f"{name}.svg": figure() for name, figure in FIGURES.items()}


if __name__ == "__main__":
    for path, text in render().items():
        path.write_text(text, encoding="utf-8")
