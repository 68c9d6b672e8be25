"""The page's tools, called by the client of the Model Context Protocol."""

import asyncio
import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import httpx
import pytest

from .visits import SHIPPED, files_in, ignore_progress, wait_until

pytest.importorskip("mcp", reason="needs gradio[mcp]")
pytest.importorskip("gradio", reason="the app needs gradio")
from gradio_client import handle_file
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

pytestmark = pytest.mark.slow


def with_tools(address, work):
    """Do something with the page's tools, as an assistant has them."""

    async def connected():
        connection = streamablehttp_client(f"{address}gradio_api/mcp/")
        async with connection as (reader, writer, _), ClientSession(reader, writer) as session:
            await session.initialize()
            return await work(session)

    return asyncio.run(connected())


def ask(address, tool, **arguments):
    """Call a tool; return whether it failed, and the texts it answered with."""
    result = with_tools(address, lambda session: session.call_tool(tool, arguments))
    return result.isError, [part.text for part in result.content]


def uploaded(address, file):
    """Where Gradio's own tool for uploads says that a file is."""
    with file.open("rb") as content:
        reply = httpx.post(f"{address}gradio_api/upload", files={"files": content})
    return f"{address}gradio_api/file={reply.json()[0]}"


def read(url):
    return httpx.get(unquote(url)).content


def test_assistants_find_the_endpoints_as_tools_with_everything_described(address):
    tools = {tool.name: tool for tool in with_tools(address, lambda session: session.list_tools()).tools}
    assert set(tools) == {"analyse", "compare", "explain", "models"}
    for tool in tools.values():
        assert tool.description.endswith(".") or "Returns: " in tool.description
        arguments = tool.inputSchema["properties"].values()
        assert all(argument["description"].endswith(".") and argument["type"] for argument in arguments)
    assert set(tools["explain"].inputSchema["properties"]) == {"video", "model", "target", "instead_of", "method"}
    assert tools["analyse"].inputSchema["required"] == ["video"]


def test_an_assistant_analyses_what_it_uploaded(address, clips):
    failed, (model,) = ask(address, "models")
    assert (failed, json.loads(model)[0]["name"]) == (False, SHIPPED)
    video = uploaded(address, clips / "short.webm")
    failed, (overlay, note, fine, coarse, json_file, csv_file, report) = ask(
        address, "analyse", video=video, model="tiny", heat_map=False
    )
    assert not failed
    assert "5 frames · 0.5 seconds · 1 face · tiny" in note
    assert "<" not in note
    said = json.loads(read(json_file))["faces"][0]
    assert said["fine"]["label"] in json.loads(fine)["label"]
    assert {entry["label"] for entry in json.loads(coarse)["confidences"]} == set(said["coarse"]["probabilities"])
    assert len(read(csv_file).splitlines()) == 6
    assert b"short.webm" in read(report)
    assert read(overlay)
    # What is only drawn, and long, is left out.
    assert len("".join([overlay, note, fine, coarse, json_file, csv_file, report])) < 4000


def test_an_assistant_compares_and_asks_why(address, clips):
    video = uploaded(address, clips / "short.webm")
    failed, (answers, *_) = ask(address, "compare", video=video, models=["tiny", SHIPPED])
    assert not failed
    assert "They agree on the expression for" in answers
    failed, (faces, maps) = ask(address, "explain", video=video, model="tiny", target="fear")
    assert not failed
    (face,) = json.loads(faces)
    assert face["sentence"].startswith("For fear speak: ")
    assert maps.startswith(address)


def test_what_an_assistant_sends_in_the_call_lies_where_it_is_deleted(address, cache, clips):
    before = set(files_in(cache))
    content = base64.b64encode((clips / "short.webm").read_bytes()).decode()
    failed, (_, note, *_) = ask(
        address, "analyse", video=f"data:video/webm;base64,{content}", model="tiny", heat_map=False
    )
    assert not failed
    assert "5 frames" in note
    same = [path for path in set(files_in(cache)) - before if path.read_bytes() == (clips / "short.webm").read_bytes()]
    assert len(same) == 2


def test_what_an_assistant_leaves_is_deleted_soon_and_what_a_visitor_has_is_not(
    address, cache, client, clips, monkeypatch
):
    before = set(files_in(cache))
    client.predict(handle_file(clips / "face.webm"), "tiny", False, api_name="/analyse")
    kept, there = set(files_in(cache)) - before, set(files_in(cache))
    video = uploaded(address, clips / "short.webm")
    failed, (_, _, _, _, json_file, *_) = ask(address, "analyse", video=video, model="tiny", heat_map=False)
    assert not failed
    # Time to ask again, and to fetch.
    assert not ask(address, "explain", video=video, model="tiny")[0]
    assert read(json_file)
    # At least overlay, JSON, CSV, report and maps.
    assert len(set(files_in(cache)) - there) >= 5
    monkeypatch.setattr("dfer_hf.open_pages.UNSHOWN_AGE", 1.0)
    assert wait_until(lambda: set(files_in(cache)) <= kept, seconds=10)
    assert len(kept) == 5
    assert set(files_in(cache)) == kept
    failed, (said,) = ask(address, "explain", video=video, model="tiny")
    assert failed
    assert said.startswith("VideoMissingError: Choose a video or image first, or again if it was deleted")


def test_assistants_at_once_do_not_take_the_place_of_one_another(address, workers, clips):
    videos = [uploaded(address, clips / name) for name in ("short.webm", "face.webm", "pair.webm")]

    def analyse(video):
        return ask(address, "analyse", video=video, model="tiny", heat_map=False)

    # From the first call on, Gradio's tools share one session.
    assert not analyse(uploaded(address, clips / "still.png"))[0]
    with ThreadPoolExecutor(3) as pool:
        with workers._turns.take(0.0, on_progress=ignore_progress, cancelled=threading.Event()):
            asked = [pool.submit(analyse, video) for video in videos]
            assert wait_until(lambda: len(workers._turns._waiting) == 3)
        answers = [answer.result() for answer in asked]
    for (failed, texts), said in zip(answers, ("5 frames", "24 frames", "6 frames"), strict=True):
        assert not failed, texts
        assert said in texts[1]


@pytest.mark.parametrize("with_progress", [False, True])
@pytest.mark.parametrize(
    ("name", "error"),
    [("text.mp4", "NotAVideoError"), ("faceless.webm", "NoFaceFoundError"), ("empty.mp4", "EmptyVideoError")],
)
def test_refused_files_are_refused_by_name(address, clips, name, error, with_progress):
    async def heard(*_):
        pass

    arguments = {"video": uploaded(address, clips / name), "model": "tiny", "heat_map": False}
    listening = heard if with_progress else None
    result = with_tools(address, lambda session: session.call_tool("analyse", arguments, progress_callback=listening))
    assert result.isError
    assert result.content[0].text.startswith(f"{error}: ")
    assert "Traceback" not in result.content[0].text


@pytest.mark.parametrize(
    "video",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "{address}health",
        "{address}gradio_api/file=/etc/passwd",
        "{address}gradio_api/file={cache}/../../../../etc/passwd",
        "{address}gradio_api/file=%2Fetc%2Fpasswd",
    ],
)
def test_paths_and_other_addresses_are_refused(address, cache, video):
    failed, (said,) = ask(address, "analyse", video=video.format(address=address, cache=cache), model="tiny")
    assert failed
    assert said.startswith(("NotAnUploadError: Upload the file", "Invalid file data format"))
