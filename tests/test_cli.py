import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import dfer_cli
import dfer_hf
import dfer_inputs
from dfer_hf.file_run import limits_of
from dfer_hf.output_files import CsvFile, JsonFile
from dfer_hf.predict_command import predict
from dfer_hf.prediction import error_row
from dfer_hf.video import DEFAULT_LIMITS, read_frames

BAD = ("empty.mp4", "faceless.webm", "text.mp4")


@pytest.fixture
def mixed(clips, tmp_path):
    """Folder with one clip that can be answered, three that cannot, and files that are none."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("short.webm", *BAD):
        shutil.copy(clips / name, folder)
    for name in ("notes.txt", ".hidden.mp4"):
        (folder / name).write_text("not asked for", encoding="utf-8")
    return folder


@pytest.fixture
def broken_checkpoint(tiny_checkpoint, tmp_path):
    """The tiny checkpoint, one tensor of which is missing."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "broken")
    weights = load_file(folder / "model.safetensors")
    weights.pop("classifier.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def read_json(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def read_csv(path):
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_answered_file_by_file_whatever_is_in_it(dfer, mixed):
    code, printed, errors = dfer("predict", mixed, "--csv", "out.csv", "--json", "out.json")
    assert code == 1
    answers = read_json("out.json")
    assert [answer["source"] for answer in answers] == ["empty.mp4", "faceless.webm", "short.webm", "text.mp4"]
    assert [answer["source"] for answer in answers if "error" in answer] == list(BAD)
    assert len(answers[2]["faces"][0]["frames"]) == 5
    rows = read_csv("out.csv")
    assert [row["source"] for row in rows if row["error"]] == list(BAD)
    good = [row for row in rows if not row["error"]]
    assert [(row["source"], row["frame_index"]) for row in good] == [("short.webm", str(i)) for i in range(5)]
    assert all(0 <= float(row["p_happiness"]) <= 1 for row in good)
    assert printed.count("\n") == 1
    assert printed.startswith("short.webm: ")
    assert all(f"{name}: Expected" in errors for name in BAD)


def test_an_error_is_the_same_in_both_files_and_names_its_cause(dfer, clips):
    dfer("predict", clips / "faceless.webm", "--csv", "out.csv", "--json", "out.json")
    (row,) = read_csv("out.csv")
    assert row == read_json("out.json")
    assert list(row) == ["source", "error"]
    assert "face" in row["error"]


def test_one_clip_is_an_object_and_equals_what_the_library_says(dfer, predictor, clips):
    code, _, errors = dfer("predict", clips / "short.webm", "--json", "out.json")
    assert (code, errors) == (0, "")
    answer = read_json("out.json")
    assert set(answer) == set(predictor(clips / "short.webm").to_dict())
    assert answer["model"] == "tiny"
    assert [frame["frame_index"] for frame in answer["faces"][0]["frames"]] == list(range(5))


def test_without_an_output_file_every_face_is_in_a_table(dfer, clips):
    code, printed, _ = dfer("predict", clips / "pair.webm")
    assert code == 0
    # Whether an untrained model is sure, which a note would say, is left to chance.
    head, titles, *faces = [line for line in printed.splitlines() if not line.startswith("  Face ")]
    assert head.startswith("pair.webm: 6 frames in 0.6 s")
    assert titles.split() == ["face", "expression", "group", "seconds", "seen"]
    assert sorted(line.split()[0] for line in faces) == ["1", "2"]
    assert all(line.split()[-1] == "100%" and line.split()[-2] == "0.0-0.5" for line in faces)


def test_the_table_notes_a_truncated_file(dfer, clips):
    code, printed, _ = dfer("predict", clips / "truncated.webm")
    assert code == 0
    assert "Careful: " in printed


def test_json_on_the_screen_is_json_alone(dfer, clips):
    code, printed, _ = dfer("predict", clips / "still.png", "--json", "-")
    assert code == 0
    assert json.loads(printed)["num_frames"] == 1


def test_quiet_prints_only_errors(dfer, clips):
    assert dfer("predict", clips / "still.png", "--quiet") == (0, "", "")
    code, printed, errors = dfer("predict", clips / "text.mp4", "--quiet")
    assert (code, printed) == (1, "")
    assert "text.mp4" in errors


def test_files_of_one_name_are_told_apart_by_their_paths(dfer, clips):
    for folder in ("one", "two"):
        Path(folder).mkdir()
        shutil.copy(clips / "still.png", folder)
    code, *_ = dfer("predict", ".", "--recursive", "--csv", "out.csv")
    assert code == 0
    assert [row["source"] for row in read_csv("out.csv")] == ["one/still.png", "two/still.png"]


def test_a_file_named_twice_is_answered_once(dfer, clips):
    dfer("predict", clips / "still.png", clips / ".." / clips.name / "still.png", "--json", "out.json")
    assert len(read_json("out.json")) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "absent.mp4"], "absent.mp4"),
        (["predict", "hollow"], "videos or images"),
        (["predict", "clip.png", "--model", "no-such"], "no-such"),
        (["predict", "clip.png", "--model", "hollow"], "config.json"),
        (["predict", "clip.png", "--device", "gpu"], "'gpu'"),
        (["predict", "clip.png", "--device", "cuda:99"], "cuda:99"),
        (["predict", "clip.png", "--json", "clip.png"], "overwrite an input"),
        (["predict", "clip.png", "--json", "same", "--csv", "./same"], "Two outputs"),
        (["predict", "clip.png", "--csv", "absent/out.csv"], "absent"),
        (["predict", "clip.png", "--csv", "hollow"], "hollow"),
        (["predict", "clip.png", "--overlay", "out.avi"], ".webm"),
        (["predict", "clip.png", "--overlay", "out.partial.webm", "--json", "./out.partial.webm"], "Two outputs"),
        (["predict", "clip.png", "--json", "x" * 300], "too long"),
        (["predict", "clip.png", "--json", "out.json", "--csv", "/dev/full/out.csv"], "/dev/full/out.csv"),
        (["predict", "clip.png", "--max-seconds", "0"], "above 0, or none"),
        (["predict", "clip.png", "--max-side", "many"], "'many'"),
        (["predict"], "PATH"),
        (["dance"], "dance"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_is_said_and_writes_nothing(dfer, clips, arguments, message):
    Path("hollow").mkdir()
    shutil.copy(clips / "still.png", "clip.png")
    before = sorted(Path().rglob("*"))
    code, printed, errors = dfer(*arguments, model=None)
    assert (code, printed) == (2, "")
    assert message in errors
    assert sorted(Path().rglob("*")) == before


def test_an_input_is_not_overwritten_by_an_overlay(dfer, clips):
    shutil.copy(clips / "short.webm", "clip.webm")
    shutil.copy(clips / "still.png", "still.png")
    content = Path("clip.webm").read_bytes()
    code, _, errors = dfer("predict", "clip.webm", "still.png", "--overlay", ".")
    assert code == 2
    assert "overwrite an input" in errors
    assert Path("clip.webm").read_bytes() == content


def test_overlays_of_several_files_go_into_a_folder(dfer, clips):
    pytest.importorskip("dfer_hf.visualize")
    Path("a").mkdir()
    shutil.copy(clips / "short.webm", "a/clip.webm")
    shutil.copy(clips / "pair.webm", "clip.webm")
    code, printed, _ = dfer("predict", "clip.webm", "a/clip.webm", clips / "text.mp4", "--overlay", "drawn")
    assert code == 1
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["clip-2.webm", "clip.webm"]
    assert len(list(read_frames("drawn/clip.webm"))) == 6
    assert len(list(read_frames("drawn/clip-2.webm"))) == 5
    assert "-> drawn/clip-2.webm" in printed


@pytest.mark.parametrize("name", ["seen.webm", "seen.mp4"])
def test_an_overlay_of_one_file_has_the_name_it_was_given(dfer, clips, name):
    code, *_ = dfer("predict", clips / "short.webm", "--overlay", name)
    assert code == 0
    assert [path.name for path in Path().iterdir()] == [name]
    assert len(list(read_frames(name))) == 5


@pytest.mark.parametrize("make", [lambda path: JsonFile(path, as_list=True), CsvFile])
def test_a_run_that_breaks_off_leaves_what_was_there(tmp_path, make, prediction):
    path = tmp_path / "answers"
    path.write_text("older answers", encoding="utf-8")

    def break_off():
        with make(path) as output:
            output.add(error_row("bad.mp4", "no face"))
            output.add(prediction)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert path.read_text(encoding="utf-8") == "older answers"
    found = (tmp_path / "answers.partial").read_text(encoding="utf-8")
    assert "bad.mp4" in found
    assert "face.webm" in found
    if make is not CsvFile:
        assert len(json.loads(found)) == 2


@pytest.mark.parametrize("num_answers", [0, 1, 2])
def test_answer_files_are_whole_however_many_answers_there_are(tmp_path, num_answers):
    with JsonFile(tmp_path / "a.json", as_list=True) as as_json, CsvFile(tmp_path / "a.csv") as as_csv:
        for index in range(num_answers):
            as_json.add(error_row(f"{index}.mp4", "bad"))
            as_csv.add(error_row(f"{index}.mp4", "bad"))
    assert len(json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))) == num_answers
    assert len(read_csv(tmp_path / "a.csv")) == num_answers
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.json"]


def test_a_device_as_output_is_written_to_and_stays_a_device():
    with CsvFile(Path("/dev/null")) as output:
        output.add(error_row("bad.mp4", "no face"))
    assert Path("/dev/null").is_char_device()


def test_control_characters_of_names_do_not_reach_the_terminal(dfer, clips):
    name = "red\x1b[31m\nface.mp4"
    shutil.copy(clips / "text.mp4", name)
    code, _, errors = dfer("predict", name)
    assert code == 1
    assert "\x1b" not in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "limit"), [("--max-seconds", 2), ("--max-megabytes", 0.001), ("--max-side", 100), ("--max-rate", 9)]
)
def test_a_file_over_a_limit_is_refused_with_the_option_that_raises_it(dfer, clips, option, limit):
    code, _, errors = dfer("predict", clips / "face.webm", clips / "still.png", option, limit, "--csv", "out.csv")
    assert code == 1
    assert f"raise {option}." in errors
    assert f"raise {option}." in read_csv("out.csv")[0]["error"]
    code, *_ = dfer("predict", clips / "face.webm", option, "none", "--quiet")
    assert code == 0


def test_the_limits_are_those_of_the_library_unless_others_are_named():
    assert limits_of(dfer_cli.build_parser().parse_args(["predict", "clip.mp4"])) == DEFAULT_LIMITS


@pytest.mark.parametrize("command", ["predict", "export"])
def test_a_checkpoint_without_one_of_its_tensors_is_refused_in_one_sentence(dfer, clips, broken_checkpoint, command):
    arguments = ["export", broken_checkpoint, "mine"] if command == "export" else ["predict", clips / "short.webm"]
    code, printed, errors = dfer(*arguments, model=broken_checkpoint)
    assert (code, printed) == (2, "")
    assert "classifier.weight" in errors
    assert errors.strip().splitlines()[-1].startswith("dfer: error: ")
    assert not Path("mine").exists()


def test_an_answer_that_is_not_sure_is_printed_as_such(dfer, clips, tiny_checkpoint):
    shutil.copytree(tiny_checkpoint, "hesitant")
    config = read_json("hesitant/config.json") | {"set_threshold": 0.0}
    Path("hesitant/config.json").write_text(json.dumps(config), encoding="utf-8")
    for arguments in ((), ("--csv", "out.csv")):
        code, printed, _ = dfer("predict", clips / "short.webm", *arguments, model="hesitant")
        assert code == 0
        assert "not sure, perhaps " in printed


@pytest.mark.parametrize(
    "name", [b"caf\xe9.webm", b"two\nlines.webm", b"-csv.webm", b"\xe6\x97\xa5.webm", b"x" * 250 + b".webm"]
)
def test_a_file_is_answered_and_drawn_whatever_its_name_is(dfer, clips, name):
    shutil.copy(clips / "short.webm", os.fsdecode(name))
    code, printed, errors = dfer("predict", ".", "--json", "out.json", "--csv", "out.csv", "--overlay", "drawn")
    assert (code, errors) == (0, "")
    (answer,) = read_json("out.json")
    assert answer["source"].isprintable()
    assert {row["source"] for row in read_csv("out.csv")} == {answer["source"]}
    assert printed.startswith(answer["source"])
    assert printed.count("\n") == 1
    (overlay,) = Path("drawn").iterdir()
    assert len(list(read_frames(overlay))) == 5


def test_outputs_have_names_as_long_as_the_file_system_takes(dfer, clips):
    names = ["x" * 250 + ".json", "x" * 251 + ".csv", "\u00e9" * 125 + ".webm"]
    code, _, errors = dfer(
        "predict", clips / "short.webm", "--json", names[0], "--csv", names[1], "--overlay", names[2]
    )
    assert (code, errors) == (0, "")
    assert sorted(path.name for path in Path().iterdir()) == sorted(names)


def test_what_is_no_file_in_a_folder_is_an_error_in_its_place(dfer, clips):
    shutil.copy(clips / "short.webm", "good.webm")
    Path("folder.mp4").mkdir()
    Path("loop.mp4").symlink_to("loop.mp4")
    Path("nothing.mp4").symlink_to("gone.mp4")
    Path("device.mp4").symlink_to("/dev/zero")
    os.mkfifo("pipe.mp4")
    code, _, errors = dfer("predict", ".", "--csv", "out.csv")
    assert code == 1
    answers = {row["source"]: row["error"] for row in read_csv("out.csv")}
    assert list(answers) == ["device.mp4", "good.webm", "loop.mp4", "nothing.mp4", "pipe.mp4"]
    assert [name for name, error in answers.items() if not error] == ["good.webm"]
    assert len(errors.splitlines()) == 4


def test_files_that_disappear_after_they_were_listed_are_errors(clips, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    for name in ("a.webm", "b.webm"):
        shutil.copy(clips / "short.webm", Path("folder", name))
    words = ["predict", "folder", "--csv", "out.csv", "--model", str(tiny_checkpoint), "--device", "cpu"]
    options = dfer_cli.build_parser().parse_args(words)
    options.files = dfer_inputs.find_inputs(options.paths)
    shutil.rmtree("folder")
    assert predict(options) == 1
    assert [bool(row["error"]) for row in read_csv("out.csv")] == [True, True]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("mat1 and mat2\ncannot be multiplied"), "mat1 and mat2 cannot be multiplied"),
        (ValueError(), "ValueError"),
        (PermissionError(13, "Permission denied", "clip.webm"), "Permission denied: 'clip.webm'"),
    ],
)
def test_an_error_of_one_file_does_not_lose_the_others(dfer, clips, monkeypatch, error, reason):
    answer = dfer_hf.VideoPredictor.__call__

    def fail_on_one(self, file, **options):
        if file.name == "face.webm":
            raise error
        return answer(self, file, **options)

    monkeypatch.setattr(dfer_hf.VideoPredictor, "__call__", fail_on_one)
    code, _, errors = dfer("predict", clips / "face.webm", clips / "short.webm", "--csv", "out.csv")
    assert code == 1
    first, second, *_ = read_csv("out.csv")
    assert reason in first["error"]
    assert reason in errors
    assert second["error"] == ""


@pytest.mark.parametrize("option", ["--json", "--csv"])
def test_a_full_disk_is_said_and_leaves_nothing(dfer, clips, option):
    code, _, errors = dfer("predict", clips / "short.webm", option, "/dev/full")
    assert code == 2
    assert "No space left" in errors
    assert list(Path().iterdir()) == []


def test_an_output_that_cannot_be_begun_leaves_none_of_the_others(dfer, clips):
    code, _, errors = dfer("predict", clips / "short.webm", "--json", "out.json", "--csv", "/proc/out.csv")
    assert code == 2
    assert "/proc/out" in errors
    assert list(Path().iterdir()) == []


def test_overlays_of_several_files_do_not_go_into_one(dfer, mixed, tmp_path):
    code, _, errors = dfer("predict", mixed, "--overlay", "all.webm")
    assert code == 2
    assert "Expected a folder for the outputs of 4 files, got 'all.webm'" in errors
    assert not (tmp_path / "all.webm").exists()
