"""Published files: fetched at their commit with a line and progress, kept, checked, fetched again where damaged."""

import hashlib
import os
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from lmaczs.clap.download import Published, fetch, is_intact
from lmaczs.errors import BackendUnavailableError, CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE, SMALL = bytes(range(256)) * 4000, b'{"a": 1}\n'
MODEL = Published("owner/model", COMMIT, "MIT", (("model.safetensors", "weights.bin"), ("config.json",)))


def git_hash(data):
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


class Hub:
    """A hub of one repository: what it holds, and what was asked of it."""

    def __init__(self):
        self.files = {"weights.bin": LARGE, "config.json": SMALL}
        self.sent = dict(self.files)  # what really leaves; differs where a file is damaged on the way
        self.asked = []


def handler_for(hub):
    class Handler(BaseHTTPRequestHandler):
        def answer(self, with_body):
            found = re.fullmatch(rf"/owner/model/resolve/{COMMIT}/(.+)", self.path)
            name = found[1] if found else ""
            hub.asked.append((self.command, name))
            if name not in hub.files:
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            data, sent = hub.files[name], hub.sent[name]
            etag = hashlib.sha256(data).hexdigest() if len(data) > 1000 else git_hash(data)
            self.send_response(200)
            self.send_header("ETag", f'"{etag}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if with_body:
                self.wfile.write(sent)

        def do_HEAD(self):
            self.answer(with_body=False)

        def do_GET(self):
            self.answer(with_body=True)

        def log_message(self, *arguments):
            """Stay silent."""

    return Handler


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of its own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def hub(cache, monkeypatch):
    """A hub on this machine, which huggingface_hub takes for the real one."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(hub))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield hub
    server.shutdown()
    thread.join()
    server.server_close()


def silent(share, text):
    """Progress that nobody sees."""


def test_files_are_fetched_once_and_the_first_name_that_exists_is_taken(hub):
    found = fetch(MODEL, silent)
    assert set(found) == {"weights.bin", "config.json"}
    assert found["weights.bin"].read_bytes() == LARGE and found["config.json"].read_bytes() == SMALL
    hub.asked.clear()
    assert fetch(MODEL, silent) == found
    assert hub.asked == []


def test_a_line_with_size_licence_and_commit_comes_before_the_bytes(hub):
    seen = []
    fetch(MODEL, lambda share, text: seen.append((share, text, len(hub.asked))))
    shares = [share for share, *_ in seen]
    share, line, asked = seen[0]
    assert share == 0.0 and not [a for a in hub.asked[:asked] if a[0] == "GET"]
    assert all(part in line for part in ("owner/model", "1 MB", "licence MIT", "commit 0123456"))
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 2


def test_the_terminal_gets_the_line_too(hub, capfd):
    fetch(MODEL)
    assert "Fetching owner/model (1 MB, licence MIT, commit 0123456)" in capfd.readouterr().err


def test_a_damaged_file_is_found_and_fetched_again(hub):
    path = fetch(MODEL, silent)["weights.bin"]
    blob = path.resolve()
    data = bytearray(LARGE)
    data[500_000] ^= 1
    blob.write_bytes(data)
    assert not is_intact(path)
    lines = []
    assert fetch(MODEL, lambda share, text: lines.append(text))["weights.bin"].read_bytes() == LARGE
    assert "again, a copy here is damaged" in lines[0]


def test_half_a_file_is_found_and_fetched_again(hub):
    path = fetch(MODEL, silent)["weights.bin"]
    path.resolve().write_bytes(LARGE[: len(LARGE) // 2])
    assert fetch(MODEL, silent)["weights.bin"].read_bytes() == LARGE


def test_a_damaged_small_file_is_found_too(hub):
    path = fetch(MODEL, silent)["config.json"]
    path.resolve().write_bytes(SMALL.replace(b"1", b"2"))
    hub.asked.clear()
    assert fetch(MODEL, silent)["config.json"].read_bytes() == SMALL
    assert ("GET", "weights.bin") not in hub.asked


def test_a_file_that_arrives_damaged_is_refused(hub):
    hub.sent["weights.bin"] = LARGE[:-1] + b"x"
    with pytest.raises(CheckpointError, match="'weights.bin' of owner/model arrived damaged"):
        fetch(MODEL, silent)


def test_a_download_can_be_stopped_and_taken_up_again(hub):
    class Stop(Exception):
        pass

    def stop(share, text):
        if share > 0:
            raise Stop

    with pytest.raises(Stop):
        fetch(MODEL, stop)
    assert fetch(MODEL, silent)["weights.bin"].read_bytes() == LARGE


def test_a_file_that_the_hub_no_longer_has_says_so(hub):
    del hub.files["weights.bin"]
    with pytest.raises(BackendUnavailableError, match="has no file 'model.safetensors' any more"):
        fetch(MODEL, silent)


def test_offline_the_sentence_names_the_ways_on(cache):
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(BackendUnavailableError, match="embedded model 'compact-2'") as caught:
        fetch(MODEL, silent)
    message = str(caught.value)
    assert "--weights" in message and "\n" not in message and str(cache) not in message


def test_offline_a_cached_file_is_used_and_a_damaged_one_refused(hub, monkeypatch):
    path = fetch(MODEL, silent)["weights.bin"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(MODEL, silent)["weights.bin"] == path
    path.resolve().write_bytes(b"half")
    with pytest.raises(BackendUnavailableError, match="damaged here"):
        fetch(MODEL, silent)


def test_a_file_without_a_checksum_in_its_name_is_left_to_its_reader(tmp_path):
    (tmp_path / "weights.bin").write_bytes(LARGE)
    assert is_intact(tmp_path / "weights.bin")
    assert not is_intact(tmp_path / "missing.bin")
