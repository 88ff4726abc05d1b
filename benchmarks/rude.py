"""Programs that a public page has to bear: some leave half-way, others send what does not fit."""

import contextlib
import itertools
import time
from collections.abc import Callable

import httpx
import numpy as np
import soundfile

from crowd import ANSWER_S, RATE, Bring, Diary

# Stands in all that they send: nothing of it may reach the log.
CANARY = "canary-7f3a"
LEAVES_AFTER_S = 2.0
PAUSE_S = 0.5


class Program:
    """A program that talks to the endpoints as Gradio documents it."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/gradio_api"
        self.http = httpx.Client(timeout=ANSWER_S)

    def upload(self, path: str) -> dict[str, object]:
        """The sound as an endpoint takes it."""
        with open(path, "rb") as file:
            (stored,) = self.http.post(f"{self.url}/upload", files={"files": file}).raise_for_status().json()
        return {"path": stored, "meta": {"_type": "gradio.FileData"}}

    def ask(self, endpoint: str, *values: object) -> str:
        """Begin a call; returns the address of its answer."""
        sent = self.http.post(f"{self.url}/call/{endpoint}", json={"data": list(values)}).raise_for_status()
        return f"{self.url}/call/{endpoint}/{sent.json()['event_id']}"

    def answer(self, address: str) -> str:
        """All of an answer."""
        return self.http.get(address).raise_for_status().text


def leave_half_way(url: str, bring: Bring, diary: Diary, is_over: Callable[[], bool]) -> None:
    """Ask for work of minutes, listen for a moment, and go."""
    while True:
        own, program = bring(), Program(url)
        # A minute of noise: RISE asks the classifier some 10,000 times.
        noise = np.random.default_rng(len(own.waveform)).normal(0, 0.1, 60 * RATE)
        soundfile.write(own.path, noise, RATE, subtype="PCM_16")
        address = program.ask(
            "explain", program.upload(str(own.path)), [CANARY, *own.prompts], None, "rise", "stft"
        )
        start = time.monotonic()
        with (
            contextlib.suppress(httpx.ReadTimeout),
            program.http.stream("GET", address, timeout=LEAVES_AFTER_S) as lines,
        ):
            for _ in lines.iter_lines():
                if time.monotonic() - start > LEAVES_AFTER_S:
                    break
        program.http.close()
        diary.seconds.append(time.monotonic() - start)
        if is_over():
            return


def send_nonsense(url: str, bring: Bring, diary: Diary, is_over: Callable[[], bool]) -> None:
    """Send calls that do not fit; each is answered, with one sentence at most and never with a traceback."""
    api, http = f"{url}/gradio_api", httpx.Client(timeout=ANSWER_S)
    sound = {"path": f"/{CANARY}"}
    event = {"prompts": [CANARY], "target": CANARY, "methods": CANARY}
    calls = [
        (f"call/{CANARY}", {"data": []}),
        ("run/predict", {"data": [CANARY]}),
        ("queue/join", {"data": [CANARY], "fn_index": 9999, "session_hash": CANARY}),
        ("queue/join", {"data": [sound, CANARY], "fn_index": 3, "session_hash": CANARY, "event_data": event}),
        ("call/explain", {"data": [sound, [CANARY], CANARY]}),
        ("call/classify", {"data": [CANARY]}),
        ("call/classify", {"data": {CANARY: [[[]]]}}),
    ]
    for path, sent in itertools.cycle(calls):
        start = time.monotonic()
        answer = http.post(f"{api}/{path}", json=sent)
        diary.seconds.append(time.monotonic() - start)
        if answer.status_code not in (200, 404, 422, 500) or "Traceback" in answer.text:
            diary.wrong.append(f"{path} was answered with {answer.status_code}")
        if is_over():
            return
        time.sleep(PAUSE_S)


def wait_for_the_one_who_left(url: str, path: str) -> float:
    """Seconds that a program waits for one who has just left, beyond what it waits alone."""
    program = Program(url)
    sound, prompts = program.upload(path), ["rain", "a beep"]

    def classify() -> float:
        start = time.monotonic()
        told = program.answer(program.ask("classify", sound, prompts))
        if "event: complete" not in told:
            raise RuntimeError(told)
        return time.monotonic() - start

    classify()
    alone = classify()
    long = Program(url)
    address = long.ask("explain", long.upload(path), prompts, None, "rise", "stft")
    with contextlib.suppress(httpx.ReadTimeout):
        long.http.get(address, timeout=LEAVES_AFTER_S)
    return classify() - alone
