"""Time from choosing a sound to a playable explanation, also of ten minutes: `python tests/ui/measure_speed.py` writes
benchmarks/page_speed.json.

Every round brings a new sound of 5 s, so that nothing comes from a cache; the first ones, which warm up, do not count.
"""

import json
import os
import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
from page_server import ROOT, chromium, running_page
from visit import Visit

ROUNDS, WARM_UP, RATE = 12, 2, 44100
# Of ten minutes.
LONG_ROUNDS, LONG_S = 3, 600


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


def main() -> None:
    """Write the medians and all values."""
    generator, seconds = np.random.default_rng(0), []
    with (
        TemporaryDirectory() as name,
        running_page(Path(name)) as url,
        chromium(Path(name, "profile")) as browser,
    ):
        visit = Visit(browser.new_page())
        visit.open(url)
        for number in range(ROUNDS + WARM_UP):
            path = Path(name, f"{number}.wav")
            soundfile.write(path, generator.normal(0, 0.1, 5 * RATE - 100 * number), RATE)
            seconds.append(round(one_round(visit, path), 3))
        rounds = []
        for number in range(LONG_ROUNDS):
            path = Path(name, f"long-{number}.wav")
            soundfile.write(path, generator.normal(0, 0.1, LONG_S * RATE - 100 * number), RATE)
            rounds.append(long_round(visit, path))
    row = {
        "what": "from choosing a 5 s sound to a playable explanation, with the upload, s",
        "median_s": round(statistics.median(seconds[WARM_UP:]), 3),
        "seconds": seconds[WARM_UP:],
        "cpus": os.cpu_count(),
        "ten_minutes": {
            "what": "from the scores of 10 minutes to the first part, all of it and its check, s",
            **{f"{name}_s": [found[name] for found in rounds] for name in rounds[0]},
        },
    }
    target = ROOT / "benchmarks" / "page_speed.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(row, indent=2) + "\n", "utf-8")
    print(f"{row['median_s']} s (median of {ROUNDS})")


if __name__ == "__main__":
    main()
