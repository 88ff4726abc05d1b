"""What a public page meets: programs that leave, addresses, expensive requests, and what it tells browsers."""

import http.server
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import numpy as np
import pytest
import soundfile
from page_server import running_page

from lmaczs.errors import LMACError
from lmaczs.ui import text
from lmaczs.ui.addresses import download
from lmaczs.ui.hosts import LOOPBACK, allowed_hosts
from lmaczs.ui.quiet_errors import SafeErrors
from lmaczs.ui.settings import MOST_PASSES, Settings
from lmaczs.ui.studio import Studio

PROMPTS = ["rain", "a beep"]


def write_noise(path: Path, seconds: float) -> Path:
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000)), 16000)
    return path


def fetch(url: str, folder: Path) -> str:
    """A download of at most 1,000 bytes; in a thread of its own, as a browser of other tests has a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, download, url, str(folder), 1000).result()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with running_page(
        tmp_path_factory.mktemp("server"), environment={"LMACZS_BACKEND": "debug", "LMACZS_MOST_PASSES": "0"}
    ) as url:
        yield url


class Program:
    """A program that talks to an endpoint, and may leave."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/gradio_api"
        self.client = httpx.Client(timeout=120)

    def upload(self, path: Path) -> dict:
        with open(path, "rb") as file:
            (stored,) = self.client.post(f"{self.url}/upload", files={"files": file}).json()
        return {"path": stored, "meta": {"_type": "gradio.FileData"}}

    def ask(self, endpoint: str, *values: object) -> str:
        sent = self.client.post(f"{self.url}/call/{endpoint}", json={"data": list(values)})
        return sent.json()["event_id"]

    def answer(self, endpoint: str, event: str) -> str:
        return self.client.get(f"{self.url}/call/{endpoint}/{event}").text


def test_nobody_waits_for_a_program_that_has_left(page, tmp_path):
    """RISE on ten minutes is work for minutes; its program looks for two seconds, and the next is served at once."""
    program = Program(page)
    long = program.upload(write_noise(tmp_path / "long.wav", 600))
    event = program.ask("explain", long, PROMPTS, None, "rise", "stft")
    with pytest.raises(httpx.ReadTimeout):
        httpx.get(f"{program.url}/call/explain/{event}", timeout=2)
    other = Program(page)
    short = other.upload(write_noise(tmp_path / "short.wav", 2))
    start = time.monotonic()
    told = other.answer("classify", other.ask("classify", short, PROMPTS))
    assert "event: complete" in told and time.monotonic() - start < 30
    # The page is quiet afterwards, too: the work has ended, and not only its place in line.
    again = other.answer("explain", other.ask("explain", short, PROMPTS, None, "saliency", "stft"))
    assert "event: complete" in again


def test_addresses_are_refused(page):
    """Neither fetched nor relayed, whatever they name."""
    program = Program(page)
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/sound.wav"
        for url in (address, "https://example.com/sound.wav"):
            file = {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}
            told = program.answer("classify", program.ask("classify", file, PROMPTS))
            assert told.startswith("event: error") and "takes no addresses of sounds" in told
            assert program.client.get(f"{program.url}/file={url}").status_code in (403, 404)
        server.shutdown()
    assert not asked


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/a.wav",
        "http://localhost/a.wav",
        "http://10.0.0.1/a.wav",
        "http://169.254.169.254/latest",
        "http://[::1]/a.wav",
        "http://100.64.0.1/a.wav",
        "ftp://example.com/a.wav",
        "file:///etc/hostname",
        "http:///a.wav",
    ],
)
def test_only_public_addresses_are_fetched_where_any_are(url, tmp_path):
    with pytest.raises(Exception, match="no address of a public machine"):
        fetch(url, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_sound_at_an_address_stays_within_the_limit(tmp_path, monkeypatch):
    """A real server of this machine, which is taken for a public one here."""
    import safehttpx

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/moved.wav":
                self.send_response(302)
                self.send_header("Location", "/small.wav")
                self.end_headers()
                return
            self.send_response(200 if self.path != "/none.wav" else 404)
            self.end_headers()
            self.wfile.write(b"x" * (500 if self.path == "/small.wav" else 5000))

        def log_message(self, *_):
            pass

    async def taken_for_public(host):
        return "8.8.8.8"

    monkeypatch.setattr(safehttpx, "async_validate_url", taken_for_public)
    monkeypatch.setattr(safehttpx, "AsyncSecureTransport", lambda address: httpx.AsyncHTTPTransport())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        path = fetch(f"{base}/small.wav", tmp_path)
        assert Path(path).read_bytes() == b"x" * 500 and Path(path).is_relative_to(tmp_path)
        for name, words in (
            ("large", "more than 0 MB"),
            ("none", "could be fetched"),
            ("moved", "could be fetched"),
        ):
            with pytest.raises(Exception, match=words):
                fetch(f"{base}/{name}.wav", tmp_path)
        server.shutdown()
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["small.wav"]


def test_a_request_that_costs_too_much_names_a_cheaper_method(tmp_path):
    studio = Studio(Settings(backend="debug", most_passes=100))
    heard = studio.hear(str(write_noise(tmp_path / "noise.wav", 4)))
    with pytest.raises(
        LMACError, match=r"^RISE would hear this recording about 1,\d\d\d times, and this page .* 100 "
    ):
        studio.explain(heard, PROMPTS, None, "rise")
    assert studio.explain(heard, PROMPTS, None, "saliency").result.explanation.method == "saliency"


def test_a_space_has_a_limit_and_this_machine_has_none(monkeypatch):
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv("LMACZS_MOST_PASSES", raising=False)
    assert Settings.from_environment().most_passes == 0
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert Settings.from_environment().most_passes == MOST_PASSES
    monkeypatch.setenv("LMACZS_MOST_PASSES", "500")
    assert Settings.from_environment().most_passes == 500
    monkeypatch.setenv("LMACZS_MOST_PASSES", "many")
    with pytest.raises(LMACError, match="LMACZS_MOST_PASSES is 'many'"):
        Settings.from_environment()


def test_every_answer_says_what_a_browser_may_do(page):
    for path in ("/", "/config", "/gradio_api/info", "/nothing-here"):
        headers = httpx.get(page + path).headers
        assert headers["x-content-type-options"] == "nosniff"
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'self' https://huggingface.co" in policy
        assert "http:" not in policy.replace("https:", "")


MARK = "a mark that no log may hold"


def test_a_call_that_does_not_fit_is_one_sentence_and_one_line_of_the_log(tmp_path):
    with running_page(tmp_path, environment={"LMACZS_BACKEND": "debug"}) as url:
        api = f"{url}/gradio_api"
        sound = {"path": f"/{MARK}"}
        event = {"prompts": [MARK], "target": MARK, "methods": MARK}
        calls = [
            (f"call/{MARK}", {"data": []}, 500),
            ("run/predict", {"data": [MARK]}, 500),
            ("queue/join", {"data": [MARK], "fn_index": 9999, "session_hash": MARK}, 500),
            (
                "queue/join",
                {"data": [sound, MARK], "fn_index": 3, "session_hash": MARK, "event_data": event},
                200,
            ),
            ("call/explain", {"data": [sound, [MARK], MARK]}, 422),
            ("call/classify", {"data": [MARK]}, 422),
            ("call/classify", {"data": {MARK: [[[]]]}}, 422),
        ]
        for path, sent, status in calls * 5:
            answer = httpx.post(f"{api}/{path}", json=sent, timeout=30)
            assert answer.status_code == status, path
            if status == 500:
                assert "/gradio_api/info says what can be called" in answer.json()["detail"]
        assert httpx.get(url).status_code == 200
    log = (tmp_path / "server.log").read_text("utf-8")
    failed = [line for line in log.splitlines() if line.startswith("A call failed: ")]
    assert len(failed) >= 10 and "Traceback" not in log and MARK not in log
    assert len(log) < 10_000


def test_nonsense_is_refused_before_it_stands_in_line(page, tmp_path):
    """With one sentence, and nothing of whether a file of the server exists."""
    program = Program(page)
    good = program.upload(write_noise(tmp_path / "good.wav", 1))
    meta = {"_type": "gradio.FileData"}
    bad = {
        "no list": {"prompts": MARK},
        "no sound": [MARK, PROMPTS],
        "no mark of an upload": [{"path": good["path"]}, PROMPTS],
        "a file of the server": [{"path": "/etc/hostname", "meta": meta}, PROMPTS],
        "no file at all": [{"path": "/nowhere", "meta": meta}, PROMPTS],
        "a way out": [{"path": good["path"] + "/../../../../etc/hostname", "meta": meta}, PROMPTS],
        "a zero byte": [{"path": "a\0b", "meta": meta}, PROMPTS],
        "no prompts": [good],
        "prompts are a number": [good, 3],
    }
    said = {}
    for name, data in bad.items():
        answer = program.client.post(f"{program.url}/call/classify", json={"data": data})
        assert answer.status_code == 422, name
        said[name] = answer.json()["detail"]
    assert said["a file of the server"] == said["no file at all"] == said["a way out"] == text.NO_UPLOAD
    assert said["no prompts"] == said["prompts are a number"] == text.NO_PROMPT_LIST
    broken = program.client.post(f"{program.url}/call/explain", content=b"[" * 100_000)
    assert broken.status_code == 422
    large = program.client.post(f"{program.url}/call/explain", content=b" " * 2_100_000)
    assert large.status_code == 413
    told = program.answer("classify", program.ask("classify", good, PROMPTS))
    assert "event: complete" in told


def test_an_error_of_an_answer_that_has_begun_ends_it(caplog):
    async def fails(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError(MARK)

    sent = []

    async def send(message):
        sent.append(message)

    # In a thread of its own, as in `fetch`.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(anyio.run, SafeErrors(fails), {"type": "http"}, None, send).result()
    assert [message["type"] for message in sent] == ["http.response.start"]
    assert "A call failed: ValueError at test_public_server.py" in caplog.text and MARK not in caplog.text


@pytest.mark.parametrize(
    ("server_name", "named", "expected"),
    [
        ("", "", LOOPBACK),
        ("127.0.0.1", "", LOOPBACK),
        ("localhost", "Example.org other.net", (*LOOPBACK, "example.org", "other.net")),
        ("0.0.0.0", "", None),
        ("0.0.0.0", "example.org", (*LOOPBACK, "example.org")),
        ("127.0.0.1", "*", None),
    ],
)
def test_names_that_a_page_answers_to(server_name, named, expected):
    assert allowed_hosts(server_name, named) == expected


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:7860", 200),
        ("127.0.0.1", 200),
        ("LOCALHOST", 200),
        ("[::1]:80", 200),
        ("evil.example:7860", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("evil.example@localhost", 421),
    ],
)
def test_a_local_page_answers_to_no_name_of_somebody_else(page, host, status):
    answer = httpx.get(f"{page}/config", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert "does not answer to this name" in answer.json()["detail"]
        assert answer.headers["x-content-type-options"] == "nosniff"
