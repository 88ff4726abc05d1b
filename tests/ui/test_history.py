"""Whatever was on screen can be had again: by Undo, by the browser's back and forward, and after a wrong file."""

from pathlib import Path

from visit import Visit

SOUND = "document.querySelector('#lz-sound audio')?.src || ''"


def seen(visit: Visit) -> dict:
    """What a visitor sees of a state."""
    state = visit.state()
    page = visit.page
    return {
        **{name: state[name] for name in ("prompt", "method", "area", "boxes", "metrics")},
        "scores": page.locator(".lz-bars").inner_text(),
        "typed": page.locator("#lz-prompts textarea").input_value(),
        "length": state["dur"],
    }


def undo(visit: Visit) -> None:
    visit.page.get_by_role("button", name="Undo", exact=True).click()


def test_undo_leads_back_step_by_step_and_forward_again(visit: Visit):
    visit.ready()
    page = visit.page
    assert page.get_by_role("button", name="Undo", exact=True).is_hidden()
    steps = [seen(visit)]
    page.locator(".lz-bar").nth(1).click()
    visit.until(f"state.prompt !== {steps[0]['prompt']!r}")
    visit.ready()
    steps.append(seen(visit))
    visit.chip("grad-cam++").click()
    visit.until("state.method === 'grad-cam++'")
    steps.append(seen(visit))
    page.locator(".lz-area").focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    visit.until("state.method === 'grad-cam++@10'")
    visit.ready()
    for step in reversed(steps):
        undo(visit)
        visit.until(f"state.method === {step['method']!r} && state.prompt === {step['prompt']!r}")
        visit.ready()
        found = seen(visit)
        # Others may have come beside it in the meantime.
        assert step["metrics"].items() <= found["metrics"].items() or step["area"] is None
        assert {**found, "metrics": 0} == {**step, "metrics": 0}
    assert page.get_by_role("button", name="Undo", exact=True).is_hidden()
    page.go_forward()
    visit.until(f"state.prompt === {steps[1]['prompt']!r}")
    # The address says what is on screen.
    assert "prompt=1" in page.url
    page.go_back()
    visit.until(f"state.prompt === {steps[0]['prompt']!r}")


def test_after_a_wrong_file_the_old_sound_is_one_press_away(visit: Visit, sounds: Path):
    visit.ready()
    before = seen(visit)
    visit.upload(sounds / "silent.wav")
    visit.notice.get_by_text("silent").wait_for()
    assert visit.state()["method"] is None
    assert visit.page.locator(".lz-blank-words").inner_text() == visit.notice.inner_text()
    visit.picture("wrong-file")
    visit.page.get_by_role("button", name="Back to what was here").click()
    visit.until("state.method !== null")
    visit.ready()
    assert visit.notice.is_hidden()
    assert seen(visit)["scores"] == before["scores"] and seen(visit)["length"] == before["length"]
    # What is asked now is asked of the old sound.
    visit.page.locator(".lz-bar").nth(1).click()
    visit.until("state.prompt === 'someone knocking on a door'")
    visit.ready()
    assert visit.state()["dur"] == before["length"]


def test_a_sound_of_before_comes_back_with_its_prompts(visit: Visit, sounds: Path):
    visit.ready()
    visit.type_prompts("a tone", "rain")
    visit.upload(sounds / "bursts.wav")
    visit.until("state.prompt === 'a tone' || state.prompt === 'rain'")
    visit.ready()
    own = seen(visit)
    assert own["length"] != 5
    visit.try_example(1)
    visit.until("state.method !== null")
    visit.ready()
    visit.page.go_back()
    visit.until(f"state.prompt === {own['prompt']!r}")
    visit.page.wait_for_function("document.querySelector('#lz-prompts textarea').value === 'a tone\\nrain'")
    found = seen(visit)
    assert (found["scores"], found["typed"], found["length"]) == (
        own["scores"],
        "a tone\nrain",
        own["length"],
    )
    # A sound of one's own leaves no trace in the address.
    assert "example" not in visit.page.url
    visit.page.locator(".lz-bar").nth(1).click()
    visit.until(f"state.prompt !== {own['prompt']!r}")
    visit.ready()
    assert visit.state()["dur"] == own["length"]


def test_ten_states_are_kept_and_an_older_one_is_said_to_be_gone(visit: Visit):
    visit.ready()
    for step in range(11):
        name = ("grad-cam++", "l2i")[step % 2]
        visit.chip(name).click()
        visit.until(f"state.method === {name!r}")
    for _ in range(9):
        before = visit.state()["method"]
        undo(visit)
        visit.until(f"state.method !== {before!r}")
    assert visit.page.get_by_role("button", name="Undo", exact=True).is_hidden()
    visit.page.go_back()
    visit.page.get_by_text("What was here is no longer kept").wait_for()


def test_what_another_classifier_found_cannot_be_returned_to(visit: Visit):
    visit.ready()
    visit.chip("l2i").click()
    visit.until("state.method === 'l2i'")
    visit.player.evaluate("player => { window.lmaczs.clear(); window.lmaczs.forget(); }")
    assert visit.page.get_by_role("button", name="Back to what was here").is_hidden()
