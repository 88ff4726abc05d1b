"""Store the first example already explained, so that the page shows its point before any model runs.

    python -m lmaczs.ui.build_first_paint [--backend compact]

Run it again after the embedded models or the first example change; a test compares what is stored with what
the models say today.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lmaczs.ui.component_payload import component_payload
from lmaczs.ui.controls import CONTROLS
from lmaczs.ui.examples import FIRST_PAINT, Example, examples_folder, load_examples
from lmaczs.ui.payload import (
    check_payload,
    clip_payload,
    control_payload,
    explanation_payload,
    scores_payload,
)
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio


def explain_example(
    studio: Studio, example: Example, folder: Path, methods: Sequence[str] | None = None
) -> dict[str, Any]:
    """Explain an example's top prompt.

    Args:
        studio: the models.
        example: its recording and prompts.
        folder: files are written to one subfolder per method.
        methods: keys of explainers and controls; None is all that know the prompt.

    Returns:
        What `lmaczs.ui.examples.load_first_paint` reads.
    """
    heard = studio.hear(str(example.path))
    prediction = studio.classify(heard, example.prompts)
    labels, closed = studio.labels(), studio.closed_sets()
    target = prediction.prompts[prediction.predicted]
    able = [name for name in labels["stft"] if target in closed.get(name, [target])]
    clip: dict[str, Any] | None = None
    found: dict[str, Any] = {"methods": labels, "closed": closed, "results": [], "controls": []}
    for name in [*able, *CONTROLS] if methods is None else methods:
        explained = studio.explain(heard, example.prompts, None, name)
        result = explained.result
        if name in CONTROLS:
            payload = control_payload(result, name, heard.id)
            found["controls"].append(payload)
        else:
            clip = clip or clip_payload(result, heard.id, folder)
            place = folder / name.replace("+", "p")
            place.mkdir()
            payload = explanation_payload(result, clip, place, explained.seconds)
            payload |= component_payload(result, place)
            found["results"].append(payload)
        payload |= check_payload(studio.check(heard, explained), result.metrics)
    return {
        "backend": studio.settings.backend,
        "example": example.path.name,
        "scores": scores_payload(prediction, prediction.predicted),
        "player": found,
    }


def main() -> None:
    """Write assets/examples/first_paint."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default=Settings.backend)
    studio = Studio(Settings(backend=parser.parse_args().backend))
    home = examples_folder()
    if home is None:
        parser.exit(2, "There is no assets/examples/examples.json: run 'make examples' first.\n")
    folder = home / FIRST_PAINT
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    stored = explain_example(studio, load_examples(home)[0], folder)
    (folder / "payload.json").write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(f"Wrote {folder.name}: {', '.join(row['method'] for row in stored['player']['results'])}")


if __name__ == "__main__":
    main()
