"""The page in a real Chromium when something goes wrong: a failing server, a slow network, a component that goes."""

import json
from pathlib import Path

from visit import Visit


def test_mistake_of_the_server_is_said_and_the_page_goes_on(visit: Visit):
    visit.ready()
    shown = visit.state()["prompt"]
    visit.page.evaluate(
        """() => {
            const fetched = window.fetch;
            window.fetch = (url, options) => {
                if (String(url).includes("/queue/join") && options?.body?.includes('"target"')) {
                    const sent = JSON.parse(options.body);
                    sent.data = [{ no: "sound" }];
                    options = { ...options, body: JSON.stringify(sent) };
                    window.fetch = fetched;
                }
                return fetched(url, options);
            };
        }"""
    )
    visit.page.locator(".lz-bar").last.click()
    visit.page.wait_for_selector(".lz-live.lz-seen")
    assert visit.page.locator(".lz-live").inner_text().startswith("Something went wrong")
    visit.ready()
    assert visit.state()["prompt"] == shown
    assert visit.page.locator(".lz-bar").first.get_attribute("aria-checked") == "true"
    visit.page.evaluate("document.querySelectorAll('.toast-body').forEach(toast => toast.remove())")
    visit.page.locator(".lz-bar").last.click()
    visit.until(f"state.prompt !== {json.dumps(shown)}")


def test_percentages_stay_when_a_picture_is_slow(visit: Visit, sounds: Path, eventually):
    """An explanation comes twice, the second time with its check: the slower of the two must not overwrite it."""
    visit.ready()
    seen, held = set(), []

    def hold_the_first(route) -> None:
        if route.request.url in seen:
            return route.continue_()
        seen.add(route.request.url)
        held.append(route)

    visit.page.route("**/mask.png", hold_the_first)
    visit.take(sounds / "other.wav")
    eventually(lambda: held)
    # Both answers are here.
    visit.until("state.pending === 0")
    with visit.page.expect_response("**/mask.png"):
        for route in held:
            route.continue_()
    visit.ready()
    visit.settle()
    for share in visit.page.locator(".lz-tracks b").all_inner_texts():
        assert share.endswith("%")


def test_a_component_that_goes_takes_its_listeners_and_its_sound_along(visit: Visit):
    visit.ready()
    visit.play.click()
    visit.until("state.playing && state.pos > 0.1")
    player = visit.player.element_handle()
    shared = set(visit.page.evaluate("Object.keys(window.lmaczs)"))
    assert {"ask", "clear", "report", "mark", "modelFailed"} <= shared
    emptied = visit.page.evaluate("window.lmaczs.emptied.size")
    visit.page.evaluate("document.querySelector('#lz-player').remove()")
    visit.page.wait_for_function("!window.lmaczs.ask")
    assert not player.evaluate("player => player.state().playing")
    visit.page.keyboard.press("Space")
    visit.settle()
    assert not player.evaluate("player => player.state().playing")
    left = set(visit.page.evaluate("Object.keys(window.lmaczs)"))
    assert {"mark", "modelFailed"} <= left and not left & {"ask", "clear", "report", "offer"}
    visit.page.evaluate("document.querySelector('#lz-scores').remove()")
    visit.page.wait_for_function("!window.lmaczs.mark")
    assert visit.page.evaluate("window.lmaczs.emptied.size") == emptied - 1
