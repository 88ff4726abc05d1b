"""Store the first example already explained, so that the page shows its point before any model runs.

    python -m lmaczs.ui.build_first_paint [--backend compact]

Run it again after the embedded models or the first example change; a test compares what is stored with what
the models say today.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from lmaczs.ui.examples import FIRST_PAINT, Example, examples_folder, load_examples
from lmaczs.ui.payload import player_payload, scores_payload
from lmaczs.ui.settings import Settings
from lmaczs.ui.studio import Studio


def explain_example(studio: Studio, example: Example, folder: Path) -> dict[str, Any]:
    """Explain an example's top prompt with every method.

    Args:
        studio: the models.
        example: its recording and prompts.
        folder: files are written to one subfolder per method.

    Returns:
        What `lmaczs.ui.examples.load_first_paint` reads.
    """
    heard = studio.hear(str(example.path))
    methods = {name: explainer.label for name, explainer in studio.explainers.items()}
    payloads = []
    for name in methods:
        result = studio.explain(heard, example.prompts, None, name)
        place = folder / name.replace("++", "-pp")
        place.mkdir(parents=True)
        payload = player_payload(result, heard.id, methods, place)
        payload["probability"] = studio.listen(result)
        payloads.append(_below(payload, place.name))
    prediction = studio.classify(heard, example.prompts)
    return {
        "backend": studio.settings.backend,
        "example": example.path.name,
        "scores": scores_payload(prediction, prediction.predicted),
        "player": payloads[0],
        "more": payloads[1:],
    }


def _below(value: Any, folder: str) -> Any:
    """Prefix every file of a payload with its folder; what all methods share is taken from the same place."""
    if isinstance(value, dict):
        if value.keys() == {"file"}:
            return {"file": f"{folder}/{value['file']}"}
        return {key: _below(item, folder) for key, item in value.items()}
    return value


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
    print(f"Wrote {folder.name}: {', '.join(stored['player']['methods'].values())}")


if __name__ == "__main__":
    main()
