# ruff: noqa: E501 (a promise and its test on one line)
"""What docs/hosting.md promises: each promise has a test, here or where `PROMISES` says."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from page_server import ROOT, running_page

RATE = 16000
HOSTING = ROOT / "docs/hosting.md"
# A piece of a promise -> the test that would fail if it were broken.
PROMISES = {
    "The folder is complete": "test_space.py::test_nothing_of_a_checkout_or_a_tool_slips_in",
    "Then a real browser explains an example": "test_space.py::test_space_explains_from_its_folder_alone",
    "the builder installs Gradio from there; requirements.txt says the same": "test_space.py::test_requirements_are_the_projects_at_the_releases_of_a_space",
    "the hub takes binary files only as LFS": "test_space.py::test_every_binary_file_is_stored_as_the_hub_wants",
    "the page loads nothing from the hub unless somebody chooses another classifier": "ui/test_page.py::test_page_is_built_without_weights_network_or_model_libraries",
    "models rest on the CPU and do there what takes less than 3 s": "ui/test_zero_gpu.py::test_short_work_is_done_before_a_gpu_is_there",
    "borrows a GPU for as many seconds as it needs": "ui/test_zero_gpu.py::test_the_time_asked_for_follows_the_work",
    "longer than anybody waits in line, at most 45": "ui/test_page.py::test_settings_come_from_the_environment",
    "above it the oldest go first": "ui/test_upload_budget.py::test_the_oldest_files_go_first_and_not_the_page_s_own",
    "that one address may upload while its files are kept": "ui/test_upload_budget.py::test_an_address_that_brought_too_much_waits_and_others_do_not",
    "More is refused with one sentence": "ui/test_upload_budget.py::test_a_page_with_a_limit_says_so_in_one_sentence",
    "What costs more is refused, with a cheaper method named": "ui/test_public_server.py::test_a_request_that_costs_too_much_names_a_cheaper_method",
    "public machines only, no redirections, no larger than an upload": "ui/test_public_server.py::test_a_sound_at_an_address_stays_within_the_limit",
    "a port that is taken is said, not moved from": "ui/test_cache.py::test_a_port_that_is_taken_is_said_and_not_moved_from",
    "Bound to this machine alone it answers to localhost only": "ui/test_public_server.py::test_a_local_page_answers_to_no_name_of_somebody_else",
    "keeps the ratings of blind comparisons, of visitors who allow it": "ui/test_blind.py::test_both_are_rated_before_their_names_are_told",
    "swept once they are 30 minutes old": "ui/test_cache.py::test_only_what_is_old_and_not_the_pages_own_is_deleted",
    "the last 8 recordings": "ui/test_studio.py::test_only_the_last_recordings_are_kept",
    "the last explanations (0.5 GB)": "ui/test_result_size.py::test_old_explanations_go_when_the_room_is_full",
    "no analytics, no\n  fonts or scripts from elsewhere, no history of runs": "ui/test_page.py::test_nothing_is_kept_or_sent",
    "a content security policy that lets a browser load nothing from elsewhere": "ui/test_public_server.py::test_every_answer_says_what_a_browser_may_do",
    "Addresses of\n  sounds are refused unless": "ui/test_public_server.py::test_addresses_are_refused",
    "A file of an explanation has an address with a hash of its content, and no login": "ui/test_hosting.py::test_links_work_for_whoever_has_them",
    "Nothing is written to a log": "ui/test_hosting.py::test_nothing_of_a_visitor_is_in_the_log",
    "Two visitors never share a result": "ui/test_visitors.py::test_visitors_at_once_each_get_their_own",
    "Who has to wait is told how many come first": "ui/test_work_queue.py::test_visitor_sees_the_place_and_then_the_work",
    "stands in line once\nfor each method": "ui/test_hosting.py::test_every_method_stands_in_line_by_itself",
    "from 64 on the page says that it is full": "ui/test_hosting.py::test_a_page_that_is_full_says_so",
    "Work for somebody who has left or cancelled ends at its next step": "ui/test_public_server.py::test_nobody_waits_for_a_program_that_has_left",
    "a call that does not fit is refused before it stands in line": "ui/test_public_server.py::test_nonsense_is_refused_before_it_stands_in_line",
    "a Space is also a server of tools for assistants": "ui/test_endpoints.py::test_endpoints_are_tools_for_assistants",
    "Behind a proxy set": "ui/test_hosting.py::test_behind_a_proxy_everything_has_its_prefix",
    "both take the visitors' files along": "ui/test_hosting.py::test_a_page_that_ends_takes_the_files_along",
}


@pytest.mark.parametrize("piece", PROMISES)
def test_a_promise_stands_in_the_text_and_has_its_test(piece: str):
    assert piece in HOSTING.read_text("utf-8")
    file, name = PROMISES[piece].split("::")
    assert re.search(rf"^def {name}\(", (ROOT / "tests" / file).read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Working folder of the page's server."""
    return tmp_path_factory.mktemp("hosting")


@pytest.fixture(scope="module")
def page(home: Path):
    with running_page(home, environment={"LMACZS_BACKEND": "debug"}) as url:
        yield url


def write_noise(path: Path, seconds: float = 2.0) -> Path:
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, round(seconds * RATE)), RATE)
    return path


def upload(url: str, path: Path) -> dict:
    with open(path, "rb") as file:
        (stored,) = httpx.post(f"{url}/gradio_api/upload", files={"files": file}, timeout=60).json()
    return {"path": stored, "meta": {"_type": "gradio.FileData"}}


def ask(url: str, endpoint: str, *values: object) -> httpx.Response:
    return httpx.post(f"{url}/gradio_api/call/{endpoint}", json={"data": list(values)}, timeout=60)


def answer(url: str, endpoint: str, *values: object) -> str:
    event = ask(url, endpoint, *values).json()["event_id"]
    return httpx.get(f"{url}/gradio_api/call/{endpoint}/{event}", timeout=120).text


def test_links_work_for_whoever_has_them(page: str, tmp_path: Path):
    """Without a cookie or a session, and only with the whole address."""
    told = answer(
        page,
        "explain",
        upload(page, write_noise(tmp_path / "mine.wav")),
        ["a beep", "rain"],
        None,
        None,
        "stft",
    )
    address = re.search(r'"url": "([^"]+kept\.wav)"', told)[1]
    assert re.search(r"/[0-9a-f]{32,}/kept\.wav$", address)
    assert httpx.get(address).content[:4] == b"RIFF"
    assert httpx.get(address.replace("kept.wav", "")).status_code in (403, 404)


def test_nothing_of_a_visitor_is_in_the_log(page: str, home: Path, tmp_path: Path):
    sound = upload(page, write_noise(tmp_path / "canary-name.wav"))
    assert "event: complete" in answer(
        page, "explain", sound, ["canary sentence", "rain"], None, None, "stft"
    )
    (tmp_path / "canary-broken.wav").write_text("canary content")
    broken = upload(page, tmp_path / "canary-broken.wav")
    assert "event: error" in answer(page, "classify", broken, ["canary sentence"])
    log = (home / "server.log").read_text("utf-8")
    assert "canary" not in log and "Traceback" not in log


def test_a_page_that_is_full_says_so(page: str, tmp_path: Path):
    """Nobody reads these answers, so that what has begun ends at its next step."""
    sound = upload(page, write_noise(tmp_path / "long.wav", 60))
    sent = [
        ask(page, "explain", sound, ["a beep", f"rain {number}"], None, "rise", "stft")
        for number in range(70)
    ]
    refused = [one for one in sent if one.status_code != 200]
    assert refused and len(sent) - len(refused) >= 64
    assert all("full" in one.text for one in refused)
    # It goes on.
    deadline = time.monotonic() + 90
    while ask(page, "methods").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.5)


def test_every_method_stands_in_line_by_itself(handlers, clip, monkeypatch):
    """So that nobody waits for all of somebody else's."""
    line = []
    real = handlers.studio.queue.submit
    monkeypatch.setattr(
        handlers.studio.queue,
        "submit",
        lambda work, *rest, **named: line.append(work) or real(work, *rest, **named),
    )
    methods = ["grad-cam", "saliency", "energy"]
    updates = [*handlers.explain(clip, ["a beep", "rain"], 0, methods)]
    assert len(updates[-1].player["results"]) == 2 and len(updates[-1].player["controls"]) == 1
    # Each is explained and then checked, beside the sound that is heard once.
    assert len(line) >= 2 * len(methods) + 1


def test_behind_a_proxy_everything_has_its_prefix(tmp_path: Path):
    with running_page(tmp_path, environment={"LMACZS_BACKEND": "debug", "GRADIO_ROOT_PATH": "/hear"}) as url:
        config = httpx.get(f"{url}/config").json()
        assert config["root"].endswith("/hear")
        text = httpx.get(url).text
    assert f'<meta property="og:image" content="{url}/hear/preview.png" />' in text
    # What else we write ourselves is relative to the page.
    assert 'href=\\"cards/' in text and 'href=\\"/' not in text


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_page_that_ends_takes_the_files_along(sent: signal.Signals, tmp_path: Path):
    files = tmp_path / "files"
    files.mkdir()
    environment = {"LMACZS_BACKEND": "debug", "TMPDIR": str(files), "GRADIO_TEMP_DIR": ""}
    started = []
    real = subprocess.Popen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", lambda *a, **k: started.append(real(*a, **k)) or started[-1])
        with running_page(tmp_path, environment=environment) as url:
            upload(url, write_noise(tmp_path / "mine.wav"))
            assert [path for path in files.rglob("mine.wav")]
            started[-1].send_signal(sent)
            started[-1].wait(30)
    assert not [path for path in files.rglob("*") if path.is_file()]
