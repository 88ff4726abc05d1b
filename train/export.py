"""Turn a run folder into a release folder: weights rounded for shipping, settings, metrics and golden tensors.

python train/export.py clap --run runs/clap --out assets/releases/compact-clap
python train/export.py lmac-zs --run runs/lmac-zs --out assets/releases/lmac-zs-compact-stft
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from clips import read_clips, split_clips
from lmaczs import load_backend
from lmaczs.clap.compact import CompactCLAP, CompactConfig
from lmaczs.clap.compact_release import save_compact
from lmaczs.explainers.lmac_zs.explainer import LMACZS, build_decoder, decoder_config, release_config
from lmaczs.hub import save_release
from model_card import render, sources_of


def training_settings(run: Path) -> dict:
    """What the run was made of, without folders of the machine that it ran on."""
    settings = json.loads((run / "config.json").read_text())
    csv_path = Path(settings["clips"])
    train, _ = split_clips(read_clips(csv_path), settings["hold_out"])
    continued = settings.get("init")
    settings = {key: value for key, value in settings.items() if key not in ("clips", "run", "init")}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "settings": settings,
        "steps": rows[-1]["step"],
        "continues_another_run": bool(continued),
        "last": rows[-1],
        "sources": sources_of(csv_path, {clip.path for clip in train}),
    }


def export_clap(run: Path, out: Path) -> None:
    """Write the averaged weights of a `train_clap.py` run."""
    model = CompactCLAP(CompactConfig(), sentence_encoder=torch.nn.Identity())
    model.load_state_dict(load_file(run / "model.safetensors"))
    model._sentence_encoder.clear()  # the golden prompt needs the real sentence encoder
    training = training_settings(run)
    metrics = {name: value for name, value in training["last"].items() if isinstance(value, dict)}
    save_compact(out, model, training=training, metrics=metrics)


def export_lmac_zs(run: Path, out: Path) -> None:
    """Write the averaged weights of a `train_lmac_zs.py` run, with a mask that they must reproduce."""
    training = training_settings(run)
    settings = training["settings"]
    backend = load_backend(settings["backend"])
    decoder = build_decoder(backend, decoder_config(backend, settings["domain"]))
    decoder.load_state_dict(load_file(run / "model.safetensors"))
    config = release_config(backend, decoder, settings["objective"])
    save_release(out, "lmac-zs", config, decoder.state_dict(), training=training, half=True)
    explainer = LMACZS.from_release(backend, settings["domain"], release=out)
    generator = torch.Generator().manual_seed(0)
    seconds = torch.arange(backend.clip_samples) / backend.spectral.sample_rate
    tone = 0.1 * torch.sin(2 * torch.pi * 1000 * seconds) * (seconds % 1 < 0.3)
    waveform = (tone + 0.01 * torch.randn(backend.clip_samples, generator=generator)).unsqueeze(0)
    text = backend.encode_text(["this is the sound of an alarm clock"])
    with torch.no_grad():
        audio = backend.analyze(waveform)
    golden = {
        "waveform": waveform,
        "text_embedding": text.embedding,
        "mask": explainer.masks(audio, text)[:, ::4, ::4],
    }
    save_release(out, "lmac-zs", config, decoder.state_dict(), training=training, golden=golden, half=True)


def main() -> None:
    """Read the flags and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["clap", "lmac-zs"])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    (export_clap if arguments.kind == "clap" else export_lmac_zs)(arguments.run, arguments.out)
    (arguments.out / "README.md").write_text(render(arguments.out), "utf-8")


if __name__ == "__main__":
    main()
