"""Store the first example already explained, so that the page shows its point before any model is loaded.

    python -m lmaczs.ui.build_first_paint [--backend compact]

Only the default method's explanation is stored; the page computes all others when somebody asks. Run it again after the
embedded models or the first example change; a test compares what is stored with what the models say today.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from lmaczs.ui.component_payload import component_payload
from lmaczs.ui.examples import FIRST_PAINT, Example, examples_folder, load_examples
from lmaczs.ui.payload import check_payload, clip_payload, explanation_payload, scores_payload
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio


def explain_example(studio: Studio, example: Example, folder: Path) -> dict[str, Any]:
    """Explain an example's top prompt with the default method.

    Args:
        studio: the models.
        example: its recording and prompts.
        folder: the recording's files are written to it, the explanation's to one subfolder.

    Returns:
        What `lmaczs.ui.examples.load_first_paint` reads.
    """
    heard = studio.hear(str(example.path))
    prediction = studio.classify(heard, example.prompts)
    explained = studio.explain(heard, example.prompts, None, None)
    result, method = explained.result, studio.method()
    clip, place = clip_payload(result, heard.id, folder), folder / method.name
    place.mkdir()
    payload = explanation_payload(result, clip, place, explained.seconds)
    payload |= component_payload(result, place)
    studio.measure(heard, explained)
    payload |= check_payload(result)
    return {
        "backend": studio.settings.backend,
        "example": example.path.name,
        "scores": scores_payload(prediction, prediction.predicted),
        "player": {
            "methods": {"stft": {method.name: method.label}},
            "closed": {},
            "results": [payload],
            "controls": [],
        },
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
    print(f"Wrote {folder.name}: {stored['player']['results'][0]['method']}")


if __name__ == "__main__":
    main()
