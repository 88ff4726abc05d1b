"""Turn a run folder into a release folder: weights rounded for shipping, settings, metrics and golden tensors.

python -m train.export clap --run runs/clap --out runs/compact-clap
python -m train.export lmac-zs --run runs/lmac-zs --out runs/lmac-zs-release
python -m train.export lmac-any --run runs/lmac-any --out assets/releases/lmac-any \\
    --development data/clips.csv --where dataset=esc50 --where fold=4
python -m train.export l2i --run runs/l2i-open --out assets/releases/l2i-open-compact-2
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

if not __package__:  # started as a file: put the repository in the place of this folder
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from torch import nn

from lmaczs import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.clap.compact_release import save_compact
from lmaczs.clap.decisions import load_head
from lmaczs.clap.similarity import prompts_from_labels
from lmaczs.cli.clip_arguments import key_value_pairs
from lmaczs.data.clip_table import ClipSelection, limit_by_label, select_clips
from lmaczs.data.registry import DATASETS
from lmaczs.errors import CheckpointError
from lmaczs.explainers.areas import NEEDED_GAIN
from lmaczs.explainers.l2i.explainer import interpreter_config
from lmaczs.explainers.l2i.explainer import release_config as l2i_config
from lmaczs.explainers.l2i.networks import Interpreter
from lmaczs.explainers.lmac_any.explainer import LMACAny, save_decoder
from lmaczs.explainers.lmac_any.network import AnyDecoder
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config, release_config
from lmaczs.explainers.lmac_zs.guided import GuidedDecoder, GuidedLMACZS, guided_release
from lmaczs.hub import save_release
from train.checkpoints import run_weights
from train.clips import TrainingClip, only_open, read_clips, split_clips, training_clips
from train.explained import check_explained
from train.gain_limit import calibrate_gain
from train.golden import GOLDEN_BACKEND, golden_sound, load_method, make_golden
from train.logs import METRICS, read_rows
from train.model_card import render, sources_of
from train.plain_errors import plain_errors
from train.train_lmac_any import TRAINING as GUIDED
from train.train_lmac_any import trained_decoder

Development: TypeAlias = tuple[ClipSelection, str] | None


def training_settings(run: Path) -> dict[str, Any]:
    """What the run was made of, without folders of the machine that it ran on.

    Raises:
        CheckpointError: the folder holds no run, or no metrics of its weights.
    """
    step = run_weights(run).step
    settings = _stored(run)
    clips = training_clips(settings["clips"], settings.get("datasets", ""), settings.get("data_dir", ""))
    train = only_open(split_clips(clips, settings["hold_out"])[0], settings["clips"])
    continued = settings.get("init")
    sources = training_sources(settings["clips"], train)
    places = ("clips", "data_dir", "run", "init", "weights")
    settings = {key: value for key, value in settings.items() if key not in places}
    # A kill may have left metrics of a step that the weights have not seen.
    rows = [row for row in read_rows(run) if step is None or row["step"] == step]
    if not rows:
        raise CheckpointError(
            f"{METRICS} of '{run.name}' lacks the step of the weights: start the run again."
        )
    return {
        "settings": settings,
        "steps": rows[-1]["step"],
        "continues_another_run": bool(continued),
        "last": rows[-1],
        "sources": sources,
    }


def training_sources(clips: str, train: list[TrainingClip]) -> list[dict[str, Any]]:
    """Data sets, numbers of clips and licences: of a CSV as its column says, of datasets as their makers say."""
    of_csv = {clip.path for clip in read_clips(clips)} if clips.endswith(".csv") else set()
    found = sources_of(Path(clips), {clip.path for clip in train}) if of_csv else []
    counts = Counter(clip.dataset for clip in train if clip.path not in of_csv)
    for key, count in counts.most_common():
        dataset = DATASETS.get(key)
        title, licence = (dataset.title, dataset.licence) if dataset else (key or "unnamed", "not stated")
        found.append({"dataset": title, "clips": count, "licences": [licence]})
    return found


def export_clap(run: Path, out: Path) -> None:
    """Write the averaged weights of a `train.train_clap` run."""
    training = training_settings(run)
    model = CompactCLAP(CompactConfig(), sentence_encoder=nn.Identity())
    model.load_state_dict(run_weights(run).state)
    model._sentence_encoder.clear()  # the golden prompt needs the real sentence encoder
    metrics = {name: value for name, value in training["last"].items() if isinstance(value, dict)}
    save_compact(out, model, training=training, metrics=metrics)


def export_lmac_zs(run: Path, out: Path, development: Development = None) -> None:
    """Write the averaged weights of a `train.train_lmac_zs` run, with a mask that they must reproduce.

    Args:
        run: folder of the run.
        out: folder of the release.
        development: clips that the needed gain is calibrated on, and their name; None takes the usual gain.
    """
    if (run / GUIDED).exists():
        return _export_guided(run, out, development)
    training = training_settings(run)
    settings = training["settings"]
    backend = load_backend(settings["backend"], "cpu", weights=_stored(run)["weights"] or None)
    check_explained(run, backend)
    decoder = build_decoder(
        backend, decoder_config(backend, settings["domain"], settings.get("prompt", "values"))
    )
    decoder.load_state_dict(run_weights(run).state)
    needed = NEEDED_GAIN
    if development is not None:
        limit = calibrate_gain([LMACZS.wrap(backend, decoder.eval())], *development)
        needed, training = limit.needed_gain, training | {"gain_limit": vars(limit)}
    config = release_config(backend, decoder, settings["objective"], needed)
    save_with_golden(out, "lmac-zs", config, decoder, backend, training=training)


def _export_guided(run: Path, out: Path, development: Development) -> None:
    """Write the averaged weights of a run of `train.train_lmac_any` for one classifier; arguments as above."""
    network, training = trained_decoder(run)
    if not isinstance(network, GuidedDecoder):
        raise CheckpointError(f"'{run.name}' holds a universal decoder: export it as lmac-any.")
    backend = load_backend(training["settings"]["guided"], "cpu")
    needed = NEEDED_GAIN
    if development is not None:
        methods = [GuidedLMACZS(backend, network=network, needed_gain=needed)]
        limit = calibrate_gain(methods, *development)
        needed, training = limit.needed_gain, training | {"gain_limit": vars(limit)}
    config = guided_release(backend, network, needed)
    save_with_golden(out, "lmac-zs", config, network, backend, training=training)


def export_lmac_any(run: Path, out: Path, development: Development = None) -> None:
    """Write the averaged weights of a `train.train_lmac_any` run; arguments as of `export_lmac_zs`."""
    network, training = trained_decoder(run)
    if not isinstance(network, AnyDecoder):
        raise CheckpointError(f"'{run.name}' holds a decoder of one classifier: export it as lmac-zs.")
    save_decoder(out, network, NEEDED_GAIN, training=training)
    needed = NEEDED_GAIN
    if development is not None:
        # One limit for all classifiers: one that was never met has none of its own.
        backends = [load_backend(name) for name in training["settings"]["classifiers"]]
        limit = calibrate_gain([LMACAny(backend, release=str(out)) for backend in backends], *development)
        needed, training = limit.needed_gain, training | {"gain_limit": vars(limit)}
        save_decoder(out, network, needed, training=training)
    backend = load_backend(GOLDEN_BACKEND)
    golden = make_golden(LMACAny(backend, release=str(out)), golden_sound(backend))
    save_decoder(out, network, needed, training=training, golden=golden)


def export_l2i(run: Path, out: Path) -> None:
    """Write the averaged weights of a `train.train_l2i` run with its dictionary, and a mask that they must reproduce."""
    training = training_settings(run)
    settings, stored = training["settings"], _stored(run)
    names = [line.strip() for line in _lines(stored["unheard"])]
    settings |= {"dictionary": Path(stored["dictionary"]).name, "unheard": names}
    settings |= {"prompts_file": Path(stored["prompts_file"]).name, "classifier": bool(stored["classifier"])}
    backend = load_backend(settings["backend"], "cpu", weights=stored["weights"] or None)
    weights = run_weights(run).state
    prompts = [line.strip() for line in _lines(stored["prompts_file"])] or list(backend.labels or ()) or None
    head = load_head(stored["classifier"], backend) if stored["classifier"] else None
    check_explained(run, backend, head.head if head else None)
    if head is not None:
        prompts = prompts_from_labels(head.labels)
    components = weights["dictionary"].shape[1]
    classes = None if prompts is None else len(prompts)
    interpreter = Interpreter(
        interpreter_config(
            backend, components, classes=classes, pooling=settings["theta"], maps=settings.get("maps", 4)
        )
    )
    interpreter.load_state_dict(weights)
    config = l2i_config(backend, interpreter, prompts, head.head if head else None)
    metrics = {name: value for name, value in training["last"].items() if isinstance(value, dict)}
    save_with_golden(out, "l2i", config, interpreter, backend, training=training, metrics=metrics)


def save_with_golden(
    out: Path,
    kind: str,
    config: dict[str, Any],
    network: nn.Module,
    backend: CLAPBackend,
    training: dict[str, Any],
    metrics: dict[str, Any] | None = None,
) -> None:
    """Write a release with what it makes of the golden sound.

    It is written twice: golden values belong to the weights as they are stored, in half precision.
    """
    state = network.state_dict()
    save_release(out, kind, config, state, training=training, metrics=metrics, half=True)
    golden = make_golden(load_method(out, {"kind": kind, **config}, backend), golden_sound(backend))
    save_release(out, kind, config, state, training=training, metrics=metrics, golden=golden, half=True)


def _stored(run: Path) -> dict[str, Any]:
    """Settings of a run as they were given, with folders of the machine that it ran on."""
    stored: dict[str, Any] = json.loads((run / "config.json").read_text("utf-8"))
    return stored


def _lines(file: str) -> list[str]:
    return [line for line in Path(file).read_text("utf-8").splitlines() if line.strip()] if file else []


def main() -> None:
    """Read the flags and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=list(EXPORTS))
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--development", metavar="CSV", help="labelled clips that the gain of a decoder is calibrated on"
    )
    parser.add_argument(
        "--where", action="append", default=[], metavar="COLUMN=VALUE", help="only these lines of them"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="about N of them, evenly from all labels")
    arguments = parser.parse_args()
    development = None
    if arguments.development:
        where = key_value_pairs(arguments.where, "--where")
        selection = select_clips(arguments.development, where)
        name = ", ".join(f"{column} {value}" for column, value in where.items()) or "all clips"
        if arguments.limit:
            selection = replace(selection, clips=limit_by_label(selection.clips, arguments.limit))
        development = (selection, name)
    if development and arguments.kind not in CALIBRATED:
        parser.error(f"--development is for {' and '.join(CALIBRATED)}")
    calibration = {"development": development} if development else {}
    EXPORTS[arguments.kind](arguments.run, arguments.out, **calibration)
    (arguments.out / "README.md").write_text(render(arguments.out), "utf-8")


EXPORTS: dict[str, Callable[..., None]] = {
    "clap": export_clap,
    "lmac-zs": export_lmac_zs,
    "lmac-any": export_lmac_any,
    "l2i": export_l2i,
}
CALIBRATED = ("lmac-zs", "lmac-any")

if __name__ == "__main__":
    with plain_errors():
        main()
