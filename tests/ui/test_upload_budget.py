"""One address fills nobody else's disk: uploads are counted, and the oldest files go first."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import httpx
import pytest
import soundfile
from page_server import running_page

from lmaczs.errors import LMACError
from lmaczs.ui import upload_budget
from lmaczs.ui.cache import sweep
from lmaczs.ui.settings import MOST_MB, MOST_MB_PER_ADDRESS, Settings
from lmaczs.ui.upload_budget import UPLOAD, UploadBudget


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A site that takes whatever is sent, behind the budget; counts what came through."""

    def __init__(self, **options) -> None:
        self.clock, self.came = Clock(), 0
        self.budget = UploadBudget(self.take, 1000, 60.0, clock=self.clock, **options)

    async def take(self, scope, receive, send) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            self.came += len(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"taken"})

    def post(
        self, size: int, *, stated: int | None = None, address="1.2.3.4", path=UPLOAD, headers=()
    ) -> int | None:
        """Status of an answer to a body in pieces of 100 bytes; None if the connection was ended."""
        pieces = [min(100, size - start) for start in range(0, size, 100)]
        messages = [
            {"type": "http.request", "body": b"x" * piece, "more_body": place < len(pieces) - 1}
            for place, piece in enumerate(pieces)
        ]
        sent: list[dict] = []
        length = [] if stated is None else [(b"content-length", str(stated).encode())]
        scope = {
            "type": "http", "method": "POST", "path": path, "client": (address, 1), "headers": [*length, *headers],
        }  # fmt: skip

        async def receive() -> dict:
            return messages.pop(0)

        async def send(message: dict) -> None:
            sent.append(message)

        # In a thread of its own, as a browser of other tests has a loop in this one.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(anyio.run, self.budget, scope, receive, send).result()
        return sent[0]["status"] if sent else None


def test_an_address_that_brought_too_much_waits_and_others_do_not():
    site = Site()
    assert site.post(600, stated=600) == 200
    assert site.post(500, stated=500) == 429 and site.came == 600
    assert site.post(900, stated=900, address="5.6.7.8") == 200
    assert site.post(5000, path="/gradio_api/call/explain") == 200
    site.clock.now = 61.0
    assert site.post(500, stated=500) == 200


@pytest.mark.parametrize("stated", [None, 10])
def test_what_is_stated_need_not_be_what_comes(stated):
    site = Site()
    assert site.post(5000, stated=stated) is None
    assert site.came <= 1000


def test_behind_a_proxy_the_last_address_counts_which_the_proxy_wrote():
    forged = [(b"x-forwarded-for", b"9.9.9.9, 1.1.1.1")]
    site = Site(behind_proxy=True)
    assert site.post(900, headers=forged) == 200
    assert site.post(900, headers=[(b"x-forwarded-for", b"8.8.8.8, 1.1.1.1")], stated=900) == 429
    assert site.post(900, headers=[(b"x-forwarded-for", b"1.1.1.1, 2.2.2.2")], stated=900) == 200
    # Without a proxy anybody could write anything there.
    site = Site()
    assert site.post(900, headers=forged) == 200
    assert site.post(900, headers=[(b"x-forwarded-for", b"7.7.7.7")], stated=900) == 429


def test_memory_of_addresses_is_bounded(monkeypatch):
    monkeypatch.setattr(upload_budget, "ADDRESSES", 3)
    site = Site()
    for number in range(10):
        site.post(900, address=f"10.0.0.{number}")
    assert len(site.budget._brought) == 3


def test_the_oldest_files_go_first_and_not_the_page_s_own(tmp_path: Path):
    files = [tmp_path / name / "sound.wav" for name in ("own", "oldest", "older", "newest")]
    for file in files:
        file.parent.mkdir()
        before = max((other.stat().st_ctime for other in files if other.exists()), default=0.0)
        file.write_bytes(b"x" * 100)
        while file.stat().st_ctime <= before:
            # The clock of files has coarse steps.
            file.write_bytes(b"x" * 100)
    sweep(tmp_path, 3600, {str(files[0])}, most_bytes=250)
    assert [file.exists() for file in files] == [True, False, True, True]
    sweep(tmp_path, 3600, {str(files[0])}, most_bytes=100)
    assert [file.exists() for file in files] == [True, False, False, True]


def test_settings_say_how_much(monkeypatch):
    for name in ("SPACE_ID", "LMACZS_MOST_MB", "LMACZS_MOST_MB_PER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    found = Settings.from_environment()
    assert (found.most_mb, found.most_mb_per_address) == (MOST_MB, 0)
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert Settings.from_environment().most_mb_per_address == MOST_MB_PER_ADDRESS
    monkeypatch.setenv("LMACZS_MOST_MB", "3")
    with pytest.raises(
        LMACError, match="LMACZS_MOST_MB is '3': give a whole number of megabytes, at least 500"
    ):
        Settings.from_environment()


def test_a_page_with_a_limit_says_so_in_one_sentence(tmp_path: Path):
    environment = {"LMACZS_BACKEND": "debug", "LMACZS_MOST_MB_PER_ADDRESS": "1"}
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, [0.1, -0.1] * 150_000, 16000)
    assert 400_000 < os.path.getsize(sound) < 700_000
    (tmp_path / "server").mkdir()
    with running_page(tmp_path / "server", environment=environment) as url:
        answers = []
        for _ in range(2):
            with sound.open("rb") as file:
                answers.append(httpx.post(f"{url}/gradio_api/upload", files={"files": file}, timeout=60))
    assert [answer.status_code for answer in answers] == [200, 429]
    assert answers[1].json()["detail"].startswith("More than 1 MB have come from this address lately: wait")
    assert "content-security-policy" in answers[1].headers
