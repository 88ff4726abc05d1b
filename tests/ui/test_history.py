"""Whatever was on screen can be had again: by Undo, by the browser's back and forward, and after a wrong file."""

from pathlib import Path

from visit import Visit


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


def test_after_a_wrong_file_everything_stays_and_is_asked_about_as_before(visit: Visit, sounds: Path):
    visit.ready()
    before = seen(visit)
    name, url = visit.page.locator(".lz-source-name").inner_text(), visit.page.url
    assert "example=1" in url
    visit.take(sounds / "silent.wav")
    visit.notice.get_by_text("silent").wait_for()
    visit.ready()
    visit.picture("wrong-file")
    assert seen(visit) == before
    assert visit.page.locator(".lz-source-name").inner_text() == name
    assert (
        visit.page.url == url and visit.page.get_by_role("button", name="Copy link", exact=True).is_visible()
    )
    # What is asked now is asked of the sound that is on screen.
    visit.page.locator(".lz-bar").nth(1).click()
    visit.until("state.prompt === 'someone knocking on a door'")
    visit.ready()
    assert visit.state()["dur"] == before["length"]
    visit.add("rain falling")
    visit.page.wait_for_function("document.querySelectorAll('.lz-bar:not(:disabled)').length === 6")
    visit.ready()
    assert visit.state()["dur"] == before["length"] and visit.notice.is_hidden()


def test_prompts_that_are_refused_leave_no_old_explanation_under_a_new_sound(visit: Visit, sounds: Path):
    visit.ready()
    visit.type_prompts("rain", "x" * 10_000)
    visit.take(sounds / "bursts.wav")
    visit.notice.get_by_text("10,000 characters").wait_for()
    assert visit.state()["method"] is None
    visit.page.get_by_role("button", name="Back to what was here").click()
    visit.until("state.method !== null")
    assert visit.page.locator(".lz-source-name").inner_text() == "knock-and-alarm.wav"


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
