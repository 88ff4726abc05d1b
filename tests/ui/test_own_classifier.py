"""The page with a classifier of somebody's own: its labels are the prompts, and what counted is the planted sound."""

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from page_server import running_page
from visit import Visit

from lmaczs.ui.endpoints import Endpoints
from lmaczs.ui.handlers import Handlers
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio

sys.path.insert(0, str(Path(__file__).parents[1] / "classifiers"))

from networks import LABELS, RATE, sound
from taught_models import save_taught_ast


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the classifier lies."""
    folder = tmp_path_factory.mktemp("taught") / "three-sounds"
    save_taught_ast(folder)
    return folder


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """A page that was started with LMACZS_BACKEND=hf:FOLDER; overrides the page that the other tests share."""
    environment = {"LMACZS_BACKEND": f"hf:{folder}"}
    with running_page(tmp_path_factory.mktemp("server"), environment=environment) as url:
        yield url


def test_its_labels_are_the_prompts_and_it_is_explained(visit: Visit, server: str, tmp_path: Path):
    waveform, (first, last) = sound(LABELS.index("click"), 0.6, 900)
    soundfile.write(tmp_path / "click.wav", waveform.numpy(), RATE)
    page = visit.page
    assert page.locator("#lz-prompts textarea").input_value().splitlines() == list(LABELS)
    assert page.locator("#lz-suggested option").count() == len(LABELS)
    assert page.locator("#lz-model-name").inner_text() == "three-sounds"
    assert page.locator(".lz-model-about").inner_text() == "takes its own 3 labels only"
    assert "Universal LMAC explains it" in page.locator(".lz-model-decoder").inner_text()
    # Where the folder lies is nobody's business.
    for said in (page.content(), page.request.get(f"{server}/config").text()):
        assert "taught" not in said and "three-sounds" in said
    visit.ask(tmp_path / "click.wav", *LABELS)
    assert page.locator(".lz-bar").first.inner_text().startswith("click")
    assert "lmac-zs" not in visit.state()["methods"] and "grad-cam++" in visit.state()["methods"]
    assert page.locator(".lz-bar").first.get_attribute("title").startswith("click · logit ")
    visit.picture("own-classifier")
    with page.expect_download() as download:
        page.locator(".lz-downloads").get_by_text("What counted", exact=True).click()
    download.value.save_as(tmp_path / "kept.wav")
    kept, rate = soundfile.read(tmp_path / "kept.wav")
    inside = np.zeros(len(kept), bool)
    inside[int(first * rate) : int(last * rate)] = True
    assert np.square(kept[inside]).sum() > 0.8 * np.square(kept).sum()
    visit.chip("grad-cam++").click()
    visit.until("state.metrics['grad-cam++']")


def test_no_answer_names_the_place_of_the_folder(folder: Path, tmp_path: Path):
    """Neither what programs are told, nor what is kept of a recording, nor the files that a visitor takes along."""
    studio = Studio(Settings(backend=f"hf:{folder}"))
    endpoints = Endpoints(studio)
    soundfile.write(tmp_path / "click.wav", sound(2, 0.6, 900)[0].numpy(), RATE)
    upload = {"path": str(tmp_path / "click.wav"), "meta": {"_type": "gradio.FileData"}}
    row, *_ = next(endpoints.explain(upload, list(LABELS)))
    heard = studio.hear(upload["path"])
    for said in (json.dumps(row), json.dumps(endpoints.methods()), heard.id):
        assert str(folder.parent) not in said and "three-sounds" in said
    # The file is there for as long as its answer is being sent.
    for update in Handlers(studio).archive(upload["path"], list(LABELS), 0, None):
        if update.player:
            with zipfile.ZipFile(update.player["archive"]["path"]) as archive:
                assert json.loads(archive.read("result.json"))["backend"] == "hf:three-sounds"
                break
    else:
        pytest.fail("no archive")


def test_examples_and_prompts_that_are_no_labels(visit: Visit):
    """An example fills in the labels; another prompt is refused in one sentence, and the way back is one press."""
    page = visit.page
    page.locator("#lz-tries button").first.click()
    visit.ready()
    assert page.locator("#lz-prompts textarea").input_value().splitlines() == list(LABELS)
    visit.type_prompts("a dog barking", "click")
    visit.classify()
    visit.notice.get_by_text("'a dog barking' is none of the 3 labels").wait_for()
    visit.type_prompts("click")
    page.get_by_role("button", name="all labels").click()
    page.wait_for_function("document.querySelector('#lz-prompts textarea').value.split('\\n').length === 3")
    visit.classify()
    visit.ready()
