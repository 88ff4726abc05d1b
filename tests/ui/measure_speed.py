"""How long the page takes: to a playable explanation, also of ten minutes, from a press to its answer, on a slow network.

`python tests/ui/measure_speed.py` writes benchmarks/page_speed.json.

Every round brings a new sound of 5 s, so that nothing comes from a cache; the first ones, which warm up, do not count.
"""

import json
import os
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch
from page_server import ROOT, chromium, running_page
from visit import Visit

from lmaczs.clap import load_backend

ROUNDS, WARM_UP, RATE = 12, 2, 44100
# Of ten minutes, and of first visits.
LONG_ROUNDS, LONG_S = 3, 600
PRESS_ROUNDS = 6
SIREN = "a siren wailing"
PROMPTS = ("rain falling", "a dog barking", "wind blowing")
SLOW = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}


def one_round(visit: Visit, path: Path) -> float:
    """Seconds from the choice until the explanation of this sound is on screen, decoded and ready to play."""
    return visit.page.evaluate(
        """async ([name, bytes, seconds]) => {
            const player = document.querySelector(".lz-player");
            const file = new File([new Uint8Array(bytes)], name, { type: "audio/wav" });
            const start = performance.now();
            window.lmaczs.take(file);
            while (Math.abs(player.state().dur - seconds) > 1e-3) await new Promise(requestAnimationFrame);
            return (performance.now() - start) / 1000;
        }""",
        [path.name, list(path.read_bytes()), soundfile.info(path).duration],
    )


def long_round(visit: Visit, path: Path) -> dict[str, float]:
    """Seconds from the scores of a long sound until its first part, all of it, and its check are on screen."""
    visit.page.evaluate(
        """seconds => {
            const player = document.querySelector(".lz-player");
            const bars = document.querySelector(".lz-bars");
            const { turn } = player.state();
            const found = (window.found = {});
            const note = (name, is) => (found[name] ??= is ? performance.now() / 1000 : undefined);
            const before = bars.firstChild;
            const look = () => {
                const { dur, verdict, turn: now, pending } = player.state();
                const words = document.querySelector(".lz-check").textContent;
                note("scores", now > turn && bars.firstChild !== before);
                const there = found.scores && Math.abs(dur - seconds) < 1e-3;
                note("first_part", there && /^Explained so far: (?!0:00)/.test(words));
                note("explained", found.first_part && !words.startsWith("Explained so far"));
                note("checked", found.explained && verdict);
                if (!found.checked || pending) requestAnimationFrame(look);
                else found.over = true;
            };
            look();
        }""",
        soundfile.info(path).duration,
    )
    visit.take(path)
    visit.page.wait_for_function("window.found.over", timeout=180_000)
    found = visit.page.evaluate("window.found")
    return {name: round(found[name] - found["scores"], 2) for name in ("first_part", "explained", "checked")}


# From a press until `condition` on `state` holds and is painted, s.
PRESSED = """async ([selector, condition]) => {
    const player = document.querySelector(".lz-player");
    const holds = new Function("state", "return " + condition);
    const start = performance.now();
    document.querySelector(selector).click();
    while (!holds(player.state())) await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    return (performance.now() - start) / 1000;
}"""


def presses(visit: Visit, path: Path) -> dict[str, float]:
    """Seconds from presses until what they ask for is painted, on a sound that the page has not heard before."""
    visit.ask(path, *PROMPTS)
    first = visit.state()["prompt"]

    def press(selector: str, condition: str) -> float:
        return round(visit.page.evaluate(PRESSED, [selector, condition]), 3)

    found = {
        "track": press('.lz-tracks [data-track="kept"]', "state.active === 'kept'"),
        "method_that_is_there": press('[data-method="grad-cam++"]', "state.method === 'grad-cam++'"),
    }
    press('[data-method="lmac-zs"]', "state.method === 'lmac-zs'")
    other = f'.lz-bar[data-prompt="{next(prompt for prompt in PROMPTS if prompt != first)}"]'
    found["prompt"] = press(other, f"state.prompt !== {json.dumps(first)}")
    visit.ready()
    third = f'.lz-bar[data-prompt="{next(prompt for prompt in reversed(PROMPTS) if prompt != first)}"]'
    there = " && ".join(f"state.methods['{name}'] === 'ready'" for name in ("lmac-zs", "grad-cam++", "l2i"))
    prompt = f"state.prompt === document.querySelector({json.dumps(third)}).dataset.prompt"
    found["three_methods"] = press(third, f"{prompt} && {there}")
    visit.ready()
    return found


# From the end of a drag until the scores of what is left are on screen, s; `window.muted` holds them.
MUTED = """prompt => {
    window.muted = undefined;
    const share = () => {
        const bar = document.querySelector(`.lz-bar[data-prompt="${prompt}"] .lz-fill`);
        return Number(getComputedStyle(bar).getPropertyValue("--share"));
    };
    const player = document.querySelector(".lz-player");
    const before = share(), old = player.state().method;
    const begin = () => {
        const start = performance.now();
        const look = () => {
            const { method, pending } = player.state();
            if (method === old || !method.startsWith("boxes:") || pending) return requestAnimationFrame(look);
            window.muted = { seconds: (performance.now() - start) / 1000, from: before, to: share() };
        };
        look();
    };
    document.addEventListener("pointerup", begin, { once: true, capture: true });
}"""


def mute(visit: Visit) -> list[float]:
    """Seconds until the siren of the example is muted and all is asked again; the box is another one each time."""
    visit.ready()
    visit.try_example(1)
    visit.until(f"state.prompt === {json.dumps(SIREN)}")
    visit.ready()
    found = []
    for round_number in range(PRESS_ROUNDS):
        visit.page.keyboard.press("1")
        visit.page.wait_for_timeout(500)
        visit.page.keyboard.press("b")
        visit.page.evaluate(MUTED, SIREN)
        visit.drag((0.002, 0.004), (0.999 - round_number / 1000, 0.86))
        visit.page.wait_for_function("window.muted")
        muted = visit.page.evaluate("window.muted")
        assert muted["from"] > 0.9 and muted["to"] < 0.2, muted
        found.append(round(muted["seconds"], 3))
        visit.ready()
        visit.page.get_by_role("button", name="Undo box", exact=True).click()
        visit.until("state.boxes === 0")
        visit.page.keyboard.press("Escape")
        visit.ready()
    return found


def encoder_pass_ms(rounds: int = 40) -> float:
    """What the embedded encoder takes for a window of 5 s: a measure of the machine."""
    backend = load_backend("compact-2", "cpu")
    power = torch.rand(1, backend.spectral.n_mels, backend.clip_samples // backend.spectral.hop_length + 1)
    seconds = []
    with torch.no_grad():
        for _ in range(rounds):
            start = time.perf_counter()
            backend.encode(power)
            seconds.append(time.perf_counter() - start)
    return round(1000 * statistics.median(seconds), 1)


def first_visit(url: str, folder: Path) -> dict[str, float]:
    """What a first visit brings, kB, and seconds until the outline is seen and the explanation can be played."""
    with chromium(folder) as browser:
        page = browser.new_page()
        network = page.context.new_cdp_session(page)
        network.send("Network.enable")
        network.send("Network.emulateNetworkConditions", SLOW)
        sizes: list[int] = []
        network.on("Network.loadingFinished", lambda found: sizes.append(found["encodedDataLength"]))
        # Not what is worked out for whoever has seen the first explanation.
        page.route("**/queue/join*", lambda route: None)
        page.goto(url, wait_until="commit")
        page.wait_for_selector('.lz-player[data-ready="yes"]')
        playable = page.evaluate("performance.now()")
        outline = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
        page.close()
    return {
        "outline_s": round(outline / 1000, 2),
        "playable_s": round(playable / 1000, 2),
        "kB": round(sum(sizes) / 1000),
    }


def together(rounds: list[dict[str, float]]) -> dict[str, list[float]]:
    """Name -> its value in every round."""
    return {name: [found[name] for found in rounds] for name in rounds[0]}


def noise(folder: Path, name: str, seconds: float, generator: np.random.Generator) -> Path:
    """A sound that the page has not heard before."""
    path = folder / f"{name}.wav"
    soundfile.write(path, generator.normal(0, 0.1, round(seconds * RATE)), RATE)
    return path


def main() -> None:
    """Write all values, and the median of the most important one."""
    generator = np.random.default_rng(0)
    machine = encoder_pass_ms()
    with TemporaryDirectory() as name, running_page(Path(name)) as url:
        folder = Path(name)
        with chromium(folder / "profile") as browser:
            visit = Visit(browser.new_page())
            visit.open(url)
            seconds = [
                round(one_round(visit, noise(folder, str(number), 5 - number / 100, generator)), 3)
                for number in range(ROUNDS + WARM_UP)
            ][WARM_UP:]
            pressed = [
                presses(visit, noise(folder, f"press-{number}", 4.5 - number / 100, generator))
                for number in range(PRESS_ROUNDS)
            ]
            muted = mute(visit)
            rounds = [
                long_round(visit, noise(folder, f"long-{number}", LONG_S - number / 100, generator))
                for number in range(LONG_ROUNDS)
            ]
        visits = [first_visit(url, folder / f"first-{number}") for number in range(LONG_ROUNDS)]
    row = {
        "what": "from choosing a 5 s sound to a playable explanation, with the upload, s",
        "median_s": round(statistics.median(seconds), 3),
        "seconds": seconds,
        "cpus": os.cpu_count(),
        "encoder_pass_ms": machine,
        "presses": {
            "what": "from a press to what it asks for on screen, s; three_methods: of another prompt; "
            "muted_siren: from the end of a drag over the siren of the example to the scores without it",
            **together(pressed),
            "muted_siren": muted,
        },
        "ten_minutes": {
            "what": "from the scores of 10 minutes to the first part, all of it and its check, s",
            **{f"{name}_s": values for name, values in together(rounds).items()},
        },
        "slow_network": {"what": "a first visit at 1.6 Mbit/s with 150 ms of latency", **together(visits)},
    }
    target = ROOT / "benchmarks" / "page_speed.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(row, indent=2) + "\n", "utf-8")
    print(json.dumps(row, indent=2))


if __name__ == "__main__":
    main()
