"""Store every example already explained, so that the page shows its point before any model is loaded.

    python -m lmaczs.ui.build_stored [--backend compact]

Only the default method's explanation is stored; the page computes all others when somebody asks. Run it again after the
embedded models or the examples change; a test compares what is stored with what the models say today.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from lmaczs.ui.examples import Example, examples_folder, load_examples
from lmaczs.ui.payload import check_payload, clip_payload, explanation_payload, scores_payload
from lmaczs.ui.settings import Settings
from lmaczs.ui.stored import PAYLOAD, STORED, folder_of
from lmaczs.ui.studio import Studio


def explain_example(studio: Studio, example: Example, folder: Path) -> dict[str, Any]:
    """Explain an example's top prompt with the default method.

    Args:
        studio: the models.
        example: its recording and prompts.
        folder: the recording's files are written to it, the explanation's to one subfolder.

    Returns:
        What `lmaczs.ui.stored.load_stored` reads.
    """
    heard = studio.hear(str(example.path))
    prediction = studio.classify(heard, example.prompts)
    explained = studio.explain(heard, example.prompts, None, None)
    result, method = explained.result, studio.method()
    clip, place = clip_payload(result, heard.id, folder), folder / method.name
    place.mkdir()
    payload = explanation_payload(result, clip, place, explained.seconds)
    studio.measure(heard, explained)
    payload |= check_payload(result)
    return {
        "backend": studio.settings.backend,
        "scores": scores_payload(prediction, prediction.predicted),
        "player": {
            "methods": {"stft": {method.name: method.label}},
            "closed": {},
            "results": [payload],
            "controls": [],
        },
    }


def main() -> None:
    """Write assets/examples/stored."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", default=Settings.backend)
    studio = Studio(Settings(backend=parser.parse_args().backend))
    home = examples_folder()
    if home is None:
        parser.exit(2, "There is no assets/examples/examples.json: run 'make examples' first.\n")
    shutil.rmtree(home / STORED, ignore_errors=True)
    for example in load_examples(home):
        folder = folder_of(example)
        folder.mkdir(parents=True)
        stored = explain_example(studio, example, folder)
        (folder / PAYLOAD).write_text(json.dumps(stored, indent=2, ensure_ascii=False) + "\n", "utf-8")
        verdict = stored["player"]["results"][0]["verdict"]["words"]
        print(f"{example.path.stem}: {verdict}")


if __name__ == "__main__":
    main()
