"""The choice of the classifier in a real Chromium, with a hub of this machine that holds a miniature."""

import json
import threading
from pathlib import Path

import pytest
import torch
from miniatures import SMALL_FRONT_END, clap_config, enliven, write_vocabulary
from page_server import running_page
from playwright.sync_api import BrowserContext, Page, expect
from visit import Visit

from lmaczs.clap import BACKENDS
from lmaczs.clap.laion import SOURCES
from lmaczs.ui.models import offered
from tests.hub_stand_in import StandInHub, serving

WEIGHTS = "model.safetensors"


class Gate(list):
    """What was asked of the hub; who asks for the weights waits until it opens."""

    def __init__(self):
        super().__init__()
        self.open = threading.Event()

    def append(self, asked: tuple[str, str]) -> None:
        super().append(asked)
        if asked[0] == "GET" and asked[1].endswith(WEIGHTS):
            assert self.open.wait(120)


def write_miniature(folder: Path) -> Path:
    """A small CLAP in the layout of LAION's repositories; its config.json says how small."""
    from transformers import ClapModel

    torch.manual_seed(0)
    write_vocabulary(folder, "roberta")
    enliven(ClapModel(clap_config())).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(SMALL_FRONT_END))
    return folder


@pytest.fixture(scope="module")
def gate():
    return Gate()


@pytest.fixture(scope="module")
def hub(gate, tmp_path_factory):
    hub = StandInHub()
    hub.asked = gate
    source = SOURCES["laion"]
    hub.add_folder(source.repository, write_miniature(tmp_path_factory.mktemp("miniature")), source.commit)
    with serving(hub):
        yield hub


@pytest.fixture(scope="module")
def server(hub, tmp_path_factory):
    """The page, whose server fetches from this hub; overrides the page that the other tests share."""
    environment = hub.environment(tmp_path_factory.mktemp("cache"))
    with running_page(tmp_path_factory.mktemp("server"), environment=environment) as url:
        yield url


def choose(page: Page, key: str) -> None:
    page.locator(".lz-model-open").click()
    page.locator(f'.lz-model-item[data-key="{key}"]').click()


def test_switching_keeps_sound_and_prompts_and_blocks_nobody(
    visit: Visit, context: BrowserContext, server: str, hub: StandInHub, gate: Gate, sounds: Path
):
    page, model = visit.page, visit.page.locator(".lz-model")
    visit.ready()
    prompts = ["an alarm clock", "a dog barking", "rain"]
    visit.ask(sounds / "bursts.wav", *prompts)
    embedded = page.locator(".lz-percent").all_inner_texts()
    list_says_what_each_classifier_is(visit)
    # Nothing was fetched before anybody asked.
    assert hub.asked == []

    choose(page, "laion")
    expect(page.locator(".lz-model-message")).to_contain_text("Fetching laion/clap-htsat-unfused")
    expect(page.locator(".lz-model-message")).to_contain_text("licence Apache-2.0")
    visit.picture("model-loading")
    other = another_visitor_is_served(context, server)
    # And this visitor's page works on, too.
    assert visit.state()["dur"] == pytest.approx(3.0, abs=0.06)
    assert not gate.open.is_set() and model.get_attribute("data-state") == "loading"

    gate.open.set()
    page.wait_for_selector('.lz-model[data-key="laion"][data-state="ready"]')
    page.wait_for_selector('.lz-player[data-ready="yes"][data-busy="no"]')
    expect(page.locator("#lz-model-name")).to_have_text(BACKENDS["laion"].label)
    assert page.locator("#lz-prompts textarea").input_value().splitlines() == prompts
    assert visit.state()["dur"] == pytest.approx(3.0, abs=0.06)
    # Another classifier's answer.
    assert page.locator(".lz-percent").all_inner_texts() != embedded
    assert "lmac-zs" not in visit.state()["methods"]
    assert other.page.locator("#lz-model-name").inner_text() == "Compact CLAP"
    assert not other.mistakes
    other.page.close()
    without_a_decoder_the_universal_one_explains(visit)

    fetched = list(hub.asked)
    choose(page, "compact-2")
    page.wait_for_selector('.lz-model[data-key="compact-2"]')
    page.wait_for_selector('.lz-player[data-ready="yes"][data-busy="no"]')
    assert page.locator(".lz-percent").all_inner_texts() == embedded
    expect(page.locator(".lz-model-decoder")).to_be_hidden()
    # From the cache, without a request.
    choose(page, "laion")
    page.wait_for_selector('.lz-model[data-key="laion"][data-state="ready"]')
    assert hub.asked == fetched


def list_says_what_each_classifier_is(visit: Visit) -> None:
    visit.page.locator(".lz-model-open").click()
    assert visit.page.locator(".lz-model-item").count() == len(offered("compact-2"))
    words = visit.page.locator('.lz-model-item[data-key="laion"]').inner_text()
    assert all(part in words for part in ("LAION CLAP", "615 MB", "Apache-2.0"))
    visit.picture("model-list")
    visit.page.keyboard.press("Escape")


def another_visitor_is_served(context: BrowserContext, server: str) -> Visit:
    """With the classifier of the page, while the download stands still."""
    other = Visit(context.new_page())
    other.watch()
    other.open(server)
    other.ready()
    other.try_example(1)
    other.ready()
    expect(other.page.locator("#lz-model-name")).to_have_text("Compact CLAP")
    return other


def without_a_decoder_the_universal_one_explains(visit: Visit) -> None:
    page, note = visit.page, visit.page.locator(".lz-model-decoder")
    expect(note).to_contain_text("No decoder was trained for LAION CLAP")
    expect(note).to_contain_text("Universal LMAC explains it")
    assert visit.chip("lmac-any").get_attribute("aria-checked") == "true"
    visit.picture("model-switched")
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".lz-model-open").click()
    visit.picture("model-phone")
    page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_failed_download_says_what_to_do_and_the_page_goes_on(visit: Visit):
    visit.ready()
    choose(visit.page, "msclap-2023")
    failed = visit.page.locator(".lz-model-failed")
    expect(failed).to_contain_text(
        "microsoft/msclap is not on this machine (or damaged here) and could not be fetched"
    )
    expect(failed).to_contain_text("embedded model 'compact-2'")
    assert "Traceback" not in failed.inner_text() and "\n" not in failed.inner_text()
    expect(visit.page.locator("#lz-model-name")).to_have_text("Compact CLAP")
    visit.picture("model-failed")
    visit.add("wind")
    visit.page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 6")
    visit.ready()


def test_keyboard_chooses_and_cancels(visit: Visit):
    page = visit.page
    visit.ready()
    page.locator(".lz-model-open").focus()
    page.keyboard.press("Enter")
    expect(page.locator('.lz-model-item[data-key="compact-2"]')).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator('.lz-model-item[data-key="msclap-2022"]')).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".lz-model-list")).to_be_hidden()
    expect(page.locator(".lz-model-open")).to_be_focused()
    assert visit.state()["dur"] > 1  # what is on screen stayed
