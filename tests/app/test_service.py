"""The page as a service: its settings, its health, and the endpoints for programs."""

import logging
import re
import sys
import types
from pathlib import Path

import httpx
import numpy as np
import pytest

import dfer_hf

from .visits import LIMITS, SHIPPED, call, named

pytest.importorskip("gradio", reason="the app needs gradio")
from gradio_client import handle_file
from gradio_client.exceptions import AppError

import app
from page.assistants import as_text
from page.settings import SettingError, Settings, settings_table
from page.zero import LOADED, MAX_SECONDS, ZeroWorkers, gpu_seconds

ROOT = Path(__file__).resolve().parents[2]


def test_settings_are_read_from_the_environment_and_empty_ones_left_out():
    settings = Settings.from_environment(
        {"DFER_MAX_SECONDS": "7.5", "DFER_MAX_WAITING": "3", "DFER_MAX_MEGABYTES": ""}
    )
    assert (settings.max_seconds, settings.max_waiting, settings.max_megabytes) == (7.5, 3, 100.0)
    assert (settings.limits.max_seconds, settings.limits.max_bytes) == (7.5, 100_000_000)
    assert Settings.from_environment({"DFER_MAX_CAMERAS": "0"}).max_cameras == 0


@pytest.mark.parametrize("value", ["ten", "0", "-1", "nan", "inf", "1e999", "2.5"])
@pytest.mark.parametrize("variable", ["DFER_MAX_SECONDS", "DFER_MAX_WAITING", "DFER_ANALYSES_AT_ONCE"])
def test_settings_that_make_no_sense_are_refused_by_name(variable, value):
    if (variable, value) == ("DFER_MAX_SECONDS", "2.5"):
        pytest.skip("is fine")
    with pytest.raises(SettingError, match=f"^{variable}: expected .*, got '{re.escape(value)}'"):
        Settings.from_environment({variable: value})


def test_the_app_does_not_start_with_nonsense(monkeypatch, capsys):
    monkeypatch.setenv("DFER_MAX_SECONDS", "soon")
    monkeypatch.setattr(sys, "argv", ["app.py"])
    with pytest.raises(SystemExit) as stopped:
        app.main()
    assert stopped.value.code == 2
    assert "SettingError: DFER_MAX_SECONDS: expected a number above 0, got 'soon'" in capsys.readouterr().err


def test_the_manual_lists_every_setting():
    assert "\n".join(settings_table()) in (ROOT / "docs" / "how-to" / "serve.md").read_text(encoding="utf-8")


def test_the_service_says_that_it_is_well_and_nothing_secret(address):
    reply = httpx.get(f"{address}health")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ok", "version": dfer_hf.__version__, "checkpoints": ["tiny", SHIPPED]}


def test_endpoints_are_named_typed_and_described(address):
    endpoints = httpx.get(f"{address}gradio_api/info").json()["named_endpoints"]
    assert set(endpoints) == {"/analyse", "/compare", "/explain", "/models"}
    for endpoint in endpoints.values():
        assert endpoint["description"]
        assert all(parameter["type"] for parameter in endpoint["parameters"])
        assert all(returned["type"] is not None for returned in endpoint["returns"])
        said = [part["python_type"]["description"] for part in (*endpoint["parameters"], *endpoint["returns"])]
        # Gradio reads one line for each, so that a sentence over two lines would have no end.
        assert all(re.match(r"[A-Z].{15,}\.$", text) for text in said[: len(endpoint["parameters"])]), said
        assert all(re.match(r"[a-z].{15,}[^.,]$", text) for text in said[len(endpoint["parameters"]) :]), said
    assert "addresses elsewhere" in endpoints["/analyse"]["parameters"][0]["python_type"]["description"]
    assert "row for each frame" in endpoints["/analyse"]["returns"][8]["python_type"]["description"]


def test_the_description_is_what_the_client_prints(client):
    said = client.view_api(print_info=False, return_format="str")
    assert "(Names of two models or more, as of /models.)" in said
    assert "(everything as a page that stands alone)" in said


@pytest.mark.parametrize("before", ["http://127.0.0.1:9", "https://faces.example/behind/a/proxy"])
def test_the_address_of_an_upload_is_the_upload_and_nobody_is_asked_for_it(address, clips, before):
    with (clips / "short.webm").open("rb") as content:
        path = httpx.post(f"{address}gradio_api/upload", files={"files": content}).json()[0]
    assert "event: complete" in call(address, [named(f"{before}/gradio_api/file={path}"), "tiny", False, "en"])
    elsewhere = f"{before}/gradio_api/file={path}/../../../../../../../../etc/passwd"
    assert "addresses and paths are not followed" in call(address, [named(elsewhere), "tiny", False, "en"])


def test_assistants_read_text_and_not_python_or_html():
    assert as_text('<style>p {}</style><p>Fear &amp; <b title="x">anger</b></p>') == "Fear & anger"
    assert as_text([{"name": "tiny", "is_default": True}]) == '[{"name": "tiny", "is_default": true}]'
    assert as_text({"headers": ["seconds"], "data": []}) is None
    file = {"path": "a.csv", "meta": {"_type": "gradio.FileData"}}
    assert as_text(file) is file


def test_a_program_lists_the_models(client):
    (model,) = client.predict(api_name="/models")
    assert (model["name"], model["system"]) == (SHIPPED, "dfer_aen")
    assert len(model["classes"]) == 7
    assert sorted(label for group in model["groups"].values() for label in group) == sorted(model["classes"])


def test_a_program_gets_an_explanation_and_its_maps(client, clips):
    faces, maps = client.predict(handle_file(clips / "short.webm"), "tiny", "fear", "", "", api_name="/explain")
    (face,) = faces
    assert face["explanation"]["target"] == "fear"
    assert face["sentence"].startswith("For fear speak: ")
    assert "face0_maps" in np.load(maps)


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("faceless.webm", ("tiny", "", "", ""), "NoFaceFoundError"),
        ("text.mp4", ("tiny", "", "", ""), "NotAVideoError"),
        ("short.webm", ("tiny", "joy", "", ""), "UnknownTargetError"),
        ("short.webm", ("tiny", "", "", "guessing"), "UnknownMethodError"),
    ],
)
def test_errors_have_names(client, clips, name, arguments, error):
    with pytest.raises(AppError) as refused:
        client.predict(handle_file(clips / name), *arguments, api_name="/explain")
    assert refused.value.title == error
    assert "Traceback" not in str(refused.value)


def test_what_is_logged_names_no_file(client, clips, tmp_path, caplog):
    secret = tmp_path / "anna-crying.webm"
    secret.write_bytes((clips / "short.webm").read_bytes())
    with caplog.at_level(logging.INFO):
        client.predict(handle_file(secret), "tiny", "", "", "", api_name="/explain")
    (line,) = [record.getMessage() for record in caplog.records if "explain_file" in record.getMessage()]
    assert re.fullmatch(r"explain_file, \d+\.\d s of video: done in \d+\.\d s", line)
    assert "anna" not in caplog.text


def test_on_zero_the_gpu_is_asked_for_as_long_as_the_clip_needs(tiny_checkpoint, clips, tmp_path, monkeypatch):
    asked = []

    def lend(duration):
        def decorate(function):
            def call(*arguments):
                asked.append(duration(*arguments))
                return function(*arguments)

            return call

        return decorate

    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=lend))
    workers = ZeroWorkers({"tiny": tiny_checkpoint}, limits=LIMITS)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        workers.start()
        options = {"heat_map": False, "on_progress": lambda *_: None, "cancelled": None}
        answer = workers.analyse("tiny", clips / "short.webm", tmp_path, **options)
        with pytest.raises(dfer_hf.worker.JobRefusedError) as refused:
            workers.analyse("tiny", clips / "faceless.webm", tmp_path, **options)
    finally:
        workers.close()
        LOADED.clear()
    assert answer.faces
    assert refused.value.name == "NoFaceFoundError"
    assert len(asked) == 2
    assert gpu_seconds(None, None, 5) < gpu_seconds(None, None, 60) < gpu_seconds(None, None, 600) == MAX_SECONDS
