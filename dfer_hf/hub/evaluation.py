"""What `training/release/evaluate_all.py` measured, as Markdown: figures of a checkpoint, and a table of all."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Bench = Mapping[str, Any]
NOTHING = "-"
STILLS = {
    "aligned": "FER+ valid, aligned by exact points",
    "fixed frame": "FER+ valid, all cut by one frame",
    "found": "FER+ valid, found in the pictures",
}
AGREEMENTS = {"random_weights": "with random weights", "leaving_out": "with leaving out"}
WEIGHTS = "frame weight on target, off target (100: even)"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table."""
    return [_line(head), "|" + "---|" * len(head), *map(_line, rows)]


def render_figures(results: Mapping[str, Any]) -> str:
    """Turn the content of a checkpoint's `results.json` into Markdown; a bench that was not run is left out."""
    benches = results["benches"]
    parts = [
        _stills(benches),
        _portraits(benches.get("london")),
        _clips(benches.get("clips")),
        _corruptions(benches.get("corruptions")),
        _conditions(benches.get("conditions")),
        _explanations(benches.get("explanations")),
        _confidence(benches),
        _cost(benches.get("cost")),
    ]
    lines = [line for part in parts if part for line in (*part, "")]
    rules = [f"{name}: {bench['rule']}" for name, bench in benches.items() if "rule" in bench]
    if rules:
        lines += [f"In brackets stand 95 % intervals (bootstrap). What was shown: {'; '.join(rules)}.", ""]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items() if name != "numpy")
    return "\n".join([*lines, f"`{results['command']}` ({versions})", ""])


def explanation_table(figures: Mapping[str, Bench], *, kind: str) -> list[str]:
    """Lay out how faithful explanations are, as `training/evaluation/faithfulness.py` measured it.

    Args:
        figures: By explanation.
        kind: What the first column names, such as places or frames.
    """
    head = [kind, "insertion", "deletion", "difference", "of another clip", "half again", *AGREEMENTS.values()]
    rows = []
    for name, card in figures.items():
        better = "" if "half_again" not in card else "yes" if card["half_again"] else "no"
        agreements = [f"{card[key]:.2f}" if key in card else "" for key in AGREEMENTS]
        plain = [f"{card[key]:.3f}" for key in ("insertion", "deletion")]
        rows.append([name, *plain, _in_thousandths(card, "difference"), _in_thousandths(card, "of_another"), better,
                     *agreements])  # fmt: skip
    return markdown_table(head, rows)


def render_table(all_results: Sequence[Mapping[str, Any]]) -> str:
    """One row for each checkpoint, from the contents of their `results.json`."""
    head = [
        "checkpoint",
        "FER+ aligned: UAR / WAR",
        "fixed frame: UAR / WAR",
        "muxspace: mean recall of five",
        "London: smiles, neutral",
        "clips: UAR",
        "half noise: UAR",
        "above the recogniser",
        "mPC / rPC",
        "ECE: stills, clips",
        "coverage: stills, clips",
        "maps: own / another's",
        "frames left out: own / another's",
        "CPU time",
        "MB",
    ]
    lines = markdown_table(head, ([results["checkpoint"], *_row(results["benches"])] for results in all_results))
    return "\n".join([
        *lines,
        "",
        "All in percent, but for the last four columns. FER+ is its valid split, aligned by exact points or all cut "
        "by one frame; muxspace and the London Set are found in the pictures; clips are made from stills and have no "
        "noise, or half of their frames are noise of one of five kinds; mPC is UAR under ten corruptions. An "
        "explanation is as good as the probability that shows what it names differs from the one that hides it, "
        "beside the difference by another clip's. CPU time is that of a clip, as a multiple of the frame "
        "recogniser's on the same frames. The cards say more, with intervals. A dash stands for what was not measured "
        "yet.",
        "",
    ])  # fmt: skip


def _row(benches: Mapping[str, Bench]) -> list[str]:
    ferplus, clips, cost = (benches.get(name, {}) for name in ("ferplus", "clips", "cost"))
    by_share, half = clips.get("by_share", {}), clips.get("by_share", {}).get("50%", {})
    corruptions, london = benches.get("corruptions", {}), benches.get("london", {}).get("recall", {})
    confidences = [ferplus.get("aligned", {}).get("confidence", {}), clips.get("confidence", {})]
    above = half.get("above_recogniser", {}).get("points")
    return [
        *(" / ".join(_number(ferplus.get(way, {}).get(name)) for name in ("uar", "war"))
          for way in ("aligned", "fixed frame")),
        _number(benches.get("muxspace", {}).get("mean_recall_of_five")),
        ", ".join(_number(london.get(name)) for name in ("happiness", "neutral")),
        _number(by_share.get("0%", {}).get("uar")),
        _number(half.get("uar")),
        NOTHING if above is None else f"{above:+.1f}",
        " / ".join(_number(corruptions.get(name)) for name in ("mpc", "rpc")),
        *(", ".join(_number(found.get(name)) for found in confidences) for name in ("ece", "coverage")),
        *(_beside_another(benches.get("explanations", {}).get(kind)) for kind in ("places", "frames")),
        f"{cost['clip_over_plain']:.1f}" if cost else NOTHING,
        f"{cost['megabytes']:.1f}" if cost else NOTHING,
    ]  # fmt: skip


def _beside_another(explanations: Mapping[str, Bench] | None) -> str:
    """How good the default explanation is, which comes first, beside that of another clip."""
    if not explanations:
        return NOTHING
    default = next(iter(explanations.values()))
    return f"{default['difference']:.2f} / {default['of_another']:.2f}"


def _stills(benches: Mapping[str, Bench]) -> list[str]:
    cards = {title: benches.get("ferplus", {}).get(name) for name, title in STILLS.items()}
    cards["muxspace, people nobody trained on"] = benches.get("muxspace")
    shown = {title: card for title, card in cards.items() if card}
    if not shown:
        return []
    rows = [
        [title, _with_ends(card, "uar"), _with_ends(card, "war"), str(card["count"]), str(card.get("not_found", 0))]
        for title, card in shown.items()
    ]
    lines = markdown_table(["stills", "UAR", "WAR", "n", "no face found"], rows)
    for title, card in shown.items():
        lines += ["", f"Recall, {title}: {_recalls(card)}."]
        if "mean_recall_of_five" in card:
            lines[-1] += (
                f" Mean of anger, surprise, neutral, happiness and sadness: {card['mean_recall_of_five']:.1f}."
            )
    return lines


def _portraits(card: Bench | None) -> list[str]:
    if card is None:
        return []
    lines = [
        "Portraits: Face Research Lab London Set (DeBruine and Jones, CC BY 4.0), smiling and neutral, found in the "
        f"pictures; right are {_with_ends(card, 'war')} % of {card['count']}: {_recalls(card)}."
    ]
    groups = card.get("groups", {})
    rows = [
        [name, str(group["people"]), _number(group.get("happiness")), _number(group.get("neutral"))]
        for name, group in groups.items()
    ]
    return [*lines, "", *markdown_table(["people", "number", "smiles", "neutral"], rows)] if rows else lines


def _clips(bench: Bench | None) -> list[str]:
    if bench is None:
        return []
    head = ["frames that are noise", "UAR", "mean of its frame answers", "frame recogniser", "above it", WEIGHTS, "n"]
    rows = []
    for share, card in bench["by_share"].items():
        above, weights = card["above_recogniser"], card["frame_weight"]
        rows.append([
            share.replace("%", " %"),
            _with_ends(card, "uar"),
            _number(card["own_frames"]),
            _number(card["recogniser"]),
            f"{above['points']:+.1f} ({above['interval'][0]:+.1f} to {above['interval'][1]:+.1f})",
            f"{_number(weights['on_target'])}, {_number(weights['off_target'])}",
            str(card["count"]),
        ])  # fmt: skip
    lines = [
        "Clips made from stills (16 frames, moved by landmarks; not real video), whose label holds for some frames:",
        "",
        *markdown_table(head, rows),
        "",
        "![UAR over the share of noise](noise.png)",
    ]
    kinds = bench["by_share"].get("50%", {}).get("by_kind", {})
    said = [f"{kind} {card['uar']:.1f} ({card['recogniser']:.1f})" for kind, card in kinds.items()]
    if said:
        lines += ["", f"UAR with half of the frames noise, by kind (frame recogniser): {', '.join(said)}."]
    variants = [f"{name} {_number(value)}" for name, value in bench["length_and_rate"].items()]
    return [*lines, "", f"The same clips shortened and at lower frame rates: {', '.join(variants)}."]


def _corruptions(bench: Bench | None) -> list[str]:
    if bench is None:
        return []
    levels = ", ".join(_number(value) for value in bench["by_severity"].values())
    kinds = ", ".join(f"{name} {_number(value)}" for name, value in bench["accuracy_by_corruption"].items())
    return [
        f"Ten corruptions in five severities, on {bench['count']} stills: UAR {_with_ends(bench, 'mpc')} (mPC), which "
        f"is {_with_ends(bench, 'rpc')} % of the clean {_number(bench['clean'])} (rPC). By severity: {levels}. "
        f"Accuracy by corruption: {kinds}."
    ]


def _conditions(bench: Bench | None) -> list[str]:
    if bench is None:
        return []
    framing = ", ".join(f"{name} {_number(value)}" for name, value in bench["framing"].items())
    sizes = ", ".join(
        f"{width} {_number(card['right'])} ({_number(card['found'])} found)"
        for width, card in bench["face_width"].items()
    )
    return [
        f"UAR on crops that are framed wrongly: {framing}. Portraits that are right, by width of the face: {sizes}."
    ]


def _explanations(bench: Bench | None) -> list[str]:
    if bench is None:
        return []
    return [
        f"Explanations of {bench['count']} of these clips: the probability of the answer where only what an "
        "explanation names is shown (insertion), and where it is blurred or left out (deletion). It is as good as "
        "their difference, beside that by the explanation of another clip; `half again` says whether it is one and a "
        "half times as good for sure. The last columns are rank correlations with the explanation by random weights, "
        "and with what is lost by leaving frames out.",
        "",
        *explanation_table(bench["places"], kind="places"),
        "",
        *explanation_table(bench["frames"], kind="frames"),
    ]


def _confidence(benches: Mapping[str, Bench]) -> list[str]:
    ferplus = benches.get("ferplus", {})
    measured = {
        "FER+ valid, aligned": ferplus.get("aligned"),
        "FER+ valid, found": ferplus.get("found"),
        "FER+ valid, corrupted": benches.get("corruptions"),
        "clips, with noise and without": benches.get("clips"),
        "muxspace": benches.get("muxspace"),
    }
    found = {title: bench["confidence"] for title, bench in measured.items() if bench and "confidence" in bench}
    if not found:
        return []
    rows = [
        [
            title,
            f"{card['ece']:.1f}",
            _with_ends(card, "coverage"),
            NOTHING if "set_size" not in card else f"{card['set_size']:.2f}",
            _number(card.get("unsure")),
            str(card["count"]),
        ]
        for title, card in found.items()
    ]
    return [
        "Confidence: expected calibration error (15 bins), and prediction sets; 90 % are to hold the true class:",
        "",
        *markdown_table(["", "ECE", "coverage", "classes in a set", "sets of several", "n"], rows),
        "",
        "![Accuracy over confidence](reliability.png)",
    ]


def _cost(bench: Bench | None) -> list[str]:
    if bench is None:
        return []
    return [
        f"Cost: {bench['parameters'] / 1e6:.1f} M parameters in {bench['megabytes']:.1f} MB. A clip takes "
        f"{bench['clip_over_plain']:.1f} times the CPU time of the frame recogniser on the same frames, and "
        f"{bench['whole_way_over_plain']:.1f} times with reading and finding faces; explaining the example clip "
        f"takes {bench['explained_over_plain']:.1f} times the CPU time of answering it. A process that answers it "
        f"takes {bench['peak_megabytes']} MB of memory at most."
    ]


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _in_thousandths(card: Bench, name: str) -> str:
    ends = card.get(f"{name}_interval")
    return "" if ends is None else f"{card[name]:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"


def _with_ends(card: Bench, name: str) -> str:
    ends = card.get(f"{name}_interval")
    return _number(card.get(name)) + (f" ({_number(ends[0])} to {_number(ends[1])})" if ends else "")


def _recalls(card: Bench) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in card["recall"].items() if value is not None)


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)
