"""Time from choosing a sound to a playable explanation: `python tests/ui/measure_speed.py` writes
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


def main() -> None:
    """Write the median and all values."""
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
    row = {
        "what": "from choosing a 5 s sound to a playable explanation, with the upload, s",
        "median_s": round(statistics.median(seconds[WARM_UP:]), 3),
        "seconds": seconds[WARM_UP:],
        "cpus": os.cpu_count(),
    }
    target = ROOT / "benchmarks" / "page_speed.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(row, indent=2) + "\n", "utf-8")
    print(f"{row['median_s']} s (median of {ROUNDS})")


if __name__ == "__main__":
    main()
