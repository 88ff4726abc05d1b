"""A crowd for a running page: visitors who each bring a sound and sentences of their own, and check what comes back.

All over loopback: pages without a browser, which speak the page's own protocol; programs, which use `gradio_client`; real
browsers; and, if wanted, those of rude.py.
"""

import itertools
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import soundfile
from gradio_client import Client, handle_file
from gradio_client.utils import apply_diff

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "ui"))  # the words and the page server of the browser tests
from page_server import chromium  # noqa: E402
from visit import Visit  # noqa: E402

RATE = 32000  # the embedded classifier's own: what comes back can be compared sample by sample
ANSWER_S = 300  # nobody waits longer
OUTPUTS = ("scores", "player", "notice", "progress")  # of the page's events
ROUNDING = 2e-3  # two 16-bit files and one mask


@dataclass
class Diary:
    """What one visitor saw.

    Attributes:
        kind: of visitor.
        seconds: from asking to the last answer, one a question.
        places: how many came first, as the page said, the largest of each question that had to wait.
        wrong: what should not have happened, in words.
    """

    kind: str
    seconds: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Belongings:
    """A sound and sentences that no other visitor has, and the same visitor not twice.

    Attributes:
        path: of the sound.
        waveform: (samples,) at RATE.
        prompts: sentences.
    """

    path: Path
    waveform: np.ndarray
    prompts: list[str]


Bring = Callable[[], Belongings]  # something new each time


def belongings(number: int, question: int, folder: Path) -> Belongings:
    """Make what visitor `number` brings: a tone of its own pitch and length in noise of its own."""
    time_s = np.arange(round((2 + 0.05 * number) * RATE)) / RATE
    noise = np.random.default_rng([number, question]).normal(0, 0.02, len(time_s))
    waveform = (
        0.3 * np.sin(2 * np.pi * (300 + 37 * number) * time_s) * (np.sin(6 * np.pi * time_s) > 0) + noise
    )
    path = folder / f"visitor-{number}-{question}.wav"
    soundfile.write(path, waveform, RATE, subtype="PCM_16")
    prompts = [f"machine number {number} beeping", "rain falling", f"the voice of person {number}"]
    return Belongings(path, waveform, prompts)


def strangers(
    own: Belongings, name: str, prompts: list[str], kept: np.ndarray, removed: np.ndarray
) -> Iterator[str]:
    """In words, what of an answer belongs to somebody else."""
    if name != own.path.stem:
        yield f"{own.path.stem} got the sound '{name}'"
    if prompts != own.prompts:
        yield f"{own.path.stem} got the prompts {prompts}"
    same = kept.shape == removed.shape == own.waveform.shape
    if not same or np.abs(kept + removed - own.waveform).max() > ROUNDING:
        yield f"{own.path.stem} got parts that are not of its sound"


class PageVisitor:
    """A page without a browser: one session that uploads, asks and follows the stream of answers."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/gradio_api", timeout=ANSWER_S)
        events = httpx.get(f"{url}/config", timeout=ANSWER_S).json()["dependencies"]
        self.analyse = next(event for event in events if event["api_name"] == "analyse")
        self.session, self.turn = uuid4().hex, 0

    def ask(self, own: Belongings) -> tuple[dict[str, Any], list[str]]:
        """Press Classify; returns the last value of each component, and every progress message."""
        with open(own.path, "rb") as sound:
            (path,) = (
                self.http.post("/upload", files={"files": (own.path.name, sound)}).raise_for_status().json()
            )
        self.turn += 1
        upload = {"path": path, "orig_name": own.path.name, "meta": {"_type": "gradio.FileData"}}
        request = {
            "data": [upload, "\n".join(own.prompts), self.turn],
            "fn_index": self.analyse["id"],
            "trigger_id": self.analyse["targets"][0][0],
            "session_hash": self.session,
        }
        self.http.post("/queue/join", json=request).raise_for_status()
        values: dict[str, Any] = {}
        messages = []
        state: list[Any] = []
        for message in self._stream():
            if message["msg"] == "process_generating" and message["success"]:
                found = message["output"]["data"]
                state = (
                    [apply_diff(old, new) for old, new in zip(state, found, strict=True)] if state else found
                )
                now = dict(zip(OUTPUTS, state, strict=True))
                values |= {name: value for name, value in now.items() if "turn" in (value or {})}
                messages.append((values.get("progress") or {}).get("message", ""))
            elif message["msg"] == "process_completed":
                if not message["success"]:
                    raise RuntimeError(f"an error page: {message['output']}")
                return values, messages
        raise RuntimeError("the stream ended without an answer")

    def fetch(self, file: dict[str, Any]) -> np.ndarray:
        """Read a sound that an answer names."""
        with TemporaryDirectory() as folder:
            path = Path(folder, "sound.wav")
            path.write_bytes(self.http.get(f"/file={file['path']}").raise_for_status().content)
            return soundfile.read(path)[0]

    def _stream(self) -> Iterator[dict[str, Any]]:
        with self.http.stream("GET", "/queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line[5:])


def visit_by_page(url: str, bring: Bring, diary: Diary, is_over: Callable[[], bool]) -> None:
    """Ask again and again as the page does; now and then the visitor leaves and another one comes."""
    visitor = PageVisitor(url)
    while True:
        own, start = bring(), time.monotonic()
        values, messages = visitor.ask(own)
        if said := values["notice"]["message"]:
            raise RuntimeError(said)
        (found,) = values["player"]["results"]
        original, kept = visitor.fetch(found["clip"]["original"]), visitor.fetch(found["kept"])
        # As the page does.
        parts = kept, original - kept
        diary.seconds.append(time.monotonic() - start)
        diary.wrong += strangers(own, found["clip"]["name"], values["scores"]["prompts"], *parts)
        if found["probability"] is None:
            diary.wrong.append(f"{own.path.stem} got no check of the parts")
        _note_place(diary, messages)
        if is_over():
            return
        if len(diary.seconds) % 3 == 0:
            visitor.http.close()
            visitor = PageVisitor(url)


def visit_by_program(url: str, bring: Bring, diary: Diary, is_over: Callable[[], bool]) -> None:
    """Use the endpoint /explain, and ask for the place in the queue while waiting."""
    with TemporaryDirectory() as folder:
        patience = {"timeout": ANSWER_S}
        client = Client(
            url, verbose=False, analytics_enabled=False, download_files=folder, httpx_kwargs=patience
        )
        while True:
            own, start = bring(), time.monotonic()
            job = client.submit(handle_file(str(own.path)), own.prompts, api_name="/explain")
            ranks = []
            while not job.done():
                rank = job.status().rank
                ranks += [] if rank is None else [rank + 1]
                time.sleep(0.2)
            row, kept, removed, _ = job.result()
            diary.seconds.append(time.monotonic() - start)
            parts = [soundfile.read(path)[0] for path in (kept, removed)]
            diary.wrong += strangers(own, row["clip"], row["prediction"]["prompts"], *parts)
            if ranks:
                diary.places.append(max(ranks))
            if is_over():
                return


def visit_by_browser(
    url: str, bring: Bring, diary: Diary, is_over: Callable[[], bool], picture: Path | None
) -> None:
    """Press Classify in a real Chromium, and read the place in line off the screen."""
    with TemporaryDirectory() as profile, chromium(Path(profile)) as browser:
        visit = Visit(browser.new_page())
        visit.page.set_default_timeout(1000 * ANSWER_S)
        visit.watch()
        visit.open(url)
        visit.page.evaluate(
            """() => {
                window.told = [];
                const status = document.querySelector(".lz-status");
                new MutationObserver(() => window.told.push(status.textContent))
                    .observe(status, { subtree: true, childList: true, characterData: true });
            }"""
        )
        while True:
            own = bring()
            visit.upload(own.path)
            visit.type_prompts(*own.prompts)
            start = time.monotonic()
            visit.page.evaluate("() => { window.told.length = 0; }")
            visit.classify()
            if picture and not picture.exists():
                visit.page.wait_for_function("window.told.some(text => text.includes('before you'))")
                visit.page.screenshot(path=picture, full_page=True)
            visit.ready()  # the new sound had emptied the page
            diary.seconds.append(time.monotonic() - start)
            state, shown = visit.state(), visit.page.locator(".lz-name").all_inner_texts()
            if state["prompt"] not in own.prompts or set(shown) != set(own.prompts):
                diary.wrong.append(f"{own.path.stem} got the prompts {shown}")
            if abs(state["dur"] - len(own.waveform) / RATE) > 0.01:
                diary.wrong.append(f"{own.path.stem} got a sound of {state['dur']} s")
            _note_place(diary, visit.page.evaluate("window.told"))
            if visit.mistakes:
                raise RuntimeError("; ".join(visit.mistakes))
            if is_over():
                return


def _note_place(diary: Diary, messages: list[str]) -> None:
    places = [int(found[1]) for text in messages if (found := re.search(r"(\d+) before you", text))]
    if places:
        diary.places.append(max(places))


def crowd(
    url: str,
    pages: int,
    programs: int,
    browsers: int,
    seconds: float,
    picture: Path | None = None,
    others: Sequence[Callable[[str, Bring, Diary, Callable[[], bool]], None]] = (),
) -> list[Diary]:
    """Let everybody come at once; each asks until the time is over, and at least once.

    Args:
        url: of a running page on this machine.
        pages: visitors that speak the page's protocol.
        programs: visitors that use the endpoint.
        browsers: visitors with a real browser.
        seconds: nobody asks anything new after them.
        picture: where the first browser's screen is stored while it waits in line.
        others: what further ones do, of the kind "other".

    Returns:
        Everybody's diary.
    """
    end = time.monotonic() + seconds
    kinds = ["page"] * pages + ["program"] * programs + ["browser"] * browsers + ["other"] * len(others)

    def one(number: int, kind: str, folder: Path) -> Diary:
        diary, questions = Diary(kind), itertools.count()

        def bring() -> Belongings:
            return belongings(number, next(questions), folder)

        def is_over() -> bool:
            return time.monotonic() >= end

        try:
            if kind == "page":
                visit_by_page(url, bring, diary, is_over)
            elif kind == "program":
                visit_by_program(url, bring, diary, is_over)
            elif kind == "other":
                others[number - pages - programs - browsers](url, bring, diary, is_over)
            else:
                first = number == pages + programs
                visit_by_browser(url, bring, diary, is_over, picture if first else None)
        except Exception as error:  # a visitor who fails is what this is about
            diary.wrong.append(f"visitor {number}: {type(error).__name__}: {error}")
        return diary

    with TemporaryDirectory() as name, ThreadPoolExecutor(len(kinds)) as threads:
        return list(threads.map(one, range(len(kinds)), kinds, [Path(name)] * len(kinds)))
