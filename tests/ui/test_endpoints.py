"""The page's work as named endpoints: a program on the other side of a socket gets what the library gives."""

import base64
import importlib.util
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import lmaczs
from lmaczs.hearing import explain_clip
from lmaczs.ui import text
from lmaczs.ui.endpoints import NAMES
from lmaczs.ui.layout import build_demo
from lmaczs.ui.settings import Settings, launch_options

PROMPTS = ["a beep", "rain", "a dog"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Address of a page with the smallest model."""
    demo = build_demo(Settings(backend="debug"))
    options = launch_options(demo.studio.settings) | {"prevent_thread_lock": True, "quiet": True}
    _, url, _ = demo.queue().launch(**options)
    yield url
    demo.close(verbose=False)


@pytest.fixture(scope="module")
def client(url: str, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """A program elsewhere: what it downloads lies in a folder of its own."""
    return Client(
        url, verbose=False, analytics_enabled=False, download_files=tmp_path_factory.mktemp("downloads")
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """1.3 s with a burst at its start."""
    time_s = np.arange(round(1.3 * 22050)) / 22050
    path = tmp_path_factory.mktemp("clip") / "burst.wav"
    soundfile.write(path, 0.9 * np.sin(2 * np.pi * 1200 * time_s) * (time_s < 0.5), 22050)
    return str(path)


@pytest.fixture(scope="module")
def expected(clip: str):
    """What the library says."""
    backend = lmaczs.load_backend("debug")
    return explain_clip(
        lmaczs.load_clip(clip), PROMPTS, backend, lmaczs.load_explainer("grad-cam", backend), target="rain"
    )


def test_endpoints_are_named_described_and_all_there_is(client: Client):
    told = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(told) == [f"/{name}" for name in NAMES]
    assert all(endpoint["description"].endswith(".") for endpoint in told.values())
    names = [parameter["parameter_name"] for parameter in told["/explain"]["parameters"]]
    assert names == ["audio", "prompts", "target", "method", "domain"]


def test_classify_says_what_the_library_says(client: Client, clip: str, expected):
    answer = client.predict(handle_file(clip), PROMPTS, api_name="/classify")
    assert answer["prompts"] == PROMPTS
    assert answer["predicted"] == expected.prediction.predicted
    assert answer["probabilities"] == pytest.approx(expected.prediction.probabilities.tolist(), abs=1e-5)
    as_text = client.predict(handle_file(clip), "\n".join(PROMPTS), api_name="/classify")
    assert as_text == answer


def test_explain_gives_the_numbers_and_files_of_the_library(client: Client, clip: str, expected):
    row, kept, removed, picture = client.predict(
        handle_file(clip), PROMPTS, target="rain", method="grad-cam", api_name="/explain"
    )
    assert (row["clip"], row["target"], row["method"], row["domain"]) == ("burst", "rain", "grad-cam", "stft")
    for name, value in expected.metrics.items():
        assert row["metrics"][name] == pytest.approx(value, abs=1e-3), name
    parts = [soundfile.read(path)[0] for path in (kept, removed)]
    assert np.abs(parts[0] - expected.listening.kept.waveform.numpy()).max() < 2e-4
    assert {soundfile.info(path).samplerate for path in (kept, removed)} == {expected.clip.sample_rate}
    assert np.abs(sum(parts) - expected.clip.waveform.numpy()).max() < 1e-5
    assert Image.open(picture).format == "PNG"


def test_without_a_choice_the_default_method_explains_the_best_prompt(client: Client, clip: str, expected):
    methods = client.predict(api_name="/methods")
    assert methods["default"] == methods["methods"][0]["name"]
    assert all(set(row) == {"name", "label", "domains", "prompts"} for row in methods["methods"])
    row, *_ = client.predict(handle_file(clip), PROMPTS, domain="mel", api_name="/explain")
    assert row["target"] == PROMPTS[expected.prediction.predicted]
    assert (row["method"], row["domain"]) == (methods["default"], "mel")


@pytest.mark.parametrize(
    ("endpoint", "sent", "told"),
    [
        ("/classify", {"prompts": []}, "No prompt was given"),
        ("/classify", {"prompts": ["a", 5]}, "not a list of texts"),
        (
            "/explain",
            {"method": "tea leaves"},
            "no method 'tea leaves' here: choose one of lmac-any, grad-cam",
        ),
        ("/explain", {"domain": "wavelet"}, "no domain 'wavelet': choose one of stft, mel."),
        ("/explain", {"target": 3}, "target is no text"),
        ("/explain", {"target": " "}, "No prompt was given"),
        ("/explain", {"audio": "/etc/hostname"}, "no uploaded file"),
        ("/explain", {"audio": {"path": "/etc/hostname"}}, "no uploaded file"),
        ("/classify", {"audio": None}, "no uploaded file"),
    ],
)
def test_mistakes_become_one_sentence(client: Client, clip: str, endpoint: str, sent: dict, told: str):
    with pytest.raises(AppError, match=told) as error:
        client.predict(**({"audio": handle_file(clip), "prompts": PROMPTS} | sent), api_name=endpoint)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    assert gettempdir() not in str(error.value)


def test_sound_that_cannot_be_used_becomes_one_sentence(client: Client, tmp_path: Path):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(8000), 16000)
    with pytest.raises(AppError, match="'silent.wav' is silent"):
        client.predict(handle_file(str(silent)), PROMPTS, api_name="/classify")


def test_files_of_the_server_stay_there(client: Client, url: str, tmp_path: Path):
    """The client marks what it has uploaded; a request that marks another file must not be believed."""
    import httpx

    secret = tmp_path / "secret.wav"
    soundfile.write(secret, np.random.default_rng(0).normal(0, 0.1, 8000), 16000)
    marked = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    call = f"{url}gradio_api/call/classify"
    answer = httpx.post(call, json={"data": [marked, PROMPTS]})
    assert answer.status_code == 422 and answer.json() == {"detail": text.NO_UPLOAD}


def test_nothing_of_ours_is_left_behind(
    client: Client, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The server runs in this process.
    monkeypatch.setattr(
        "lmaczs.ui.endpoints.passing_folder", lambda: TemporaryDirectory(prefix="lmaczs-", dir=tmp_path)
    )
    made = []
    monkeypatch.setattr("lmaczs.ui.endpoints.save_wav", lambda _, path: made.append(path) or path.touch())
    client.predict(handle_file(clip), PROMPTS, api_name="/explain")
    client.predict(api_name="/methods")  # after the clean-up of the one before
    assert len(made) == 2 and all(path.is_relative_to(tmp_path) for path in made)
    assert not list(tmp_path.glob("lmaczs-*"))  # what else is there, the client downloaded


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="gradio[mcp] is not installed")
def test_endpoints_are_tools_for_assistants(url: str, clip: str, expected):
    import anyio
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    sound = "data:audio/wav;base64," + base64.b64encode(Path(clip).read_bytes()).decode()
    asked = {"audio": sound, "prompts": PROMPTS, "target": "rain", "method": "grad-cam"}

    async def nod(*_) -> None:
        """Who asks for progress gets every result as a content of its own."""

    async def talk() -> tuple:
        async with (
            streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            good = await session.call_tool("explain", asked, progress_callback=nod)
            bad = await session.call_tool("explain", asked | {"prompts": []})
            return tools, good, bad

    # A browser of another test keeps an event loop in this thread.
    with ThreadPoolExecutor(1) as pool:
        tools, good, bad = pool.submit(anyio.run, talk).result()
    assert [tool.name for tool in tools] == list(NAMES)
    assert all(part["description"] for tool in tools for part in tool.inputSchema["properties"].values())
    assert not good.isError
    numbers, kept, removed, picture, _ = good.content
    row = json.loads(numbers.text.replace("'", '"').replace("None", "null"))
    assert row["metrics"]["ff"] == pytest.approx(expected.metrics["ff"], abs=1e-3)
    assert kept.text.endswith("kept.wav") and removed.text.endswith("removed.wav")
    assert picture.mimeType == "image/png"
    assert bad.isError and "No prompt was given" in bad.content[0].text


def test_the_example_for_other_programs(url: str, clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of docs/quick-start.md, with the address of this page."""
    page = (Path(__file__).parents[2] / "docs" / "quick-start.md").read_text("utf-8")
    code = re.search(r"```python\n(from gradio_client.*?)```", page, re.DOTALL).group(1)
    (tmp_path / "street.wav").write_bytes(Path(clip).read_bytes())
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(code.replace("http://127.0.0.1:7860", url.rstrip("/")), found)
    assert found["numbers"]["target"] in ("a siren wailing", "rain falling")
    assert all(Path(found[name]).stat().st_size > 1000 for name in ("kept", "removed", "picture"))
