"""Golden check: a release, read afresh as a user reads it, still gives what it gave when it was exported."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lmaczs import load_backend
from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.compact_release import golden_tensors, load_compact
from lmaczs.errors import CheckpointError
from lmaczs.explainers.base import Method
from lmaczs.explainers.l2i.explainer import L2I
from lmaczs.explainers.lmac_any.explainer import LMACAny
from lmaczs.explainers.lmac_zs.explainer import LMACZS
from lmaczs.hearing import Target, listen, make_target
from lmaczs.hub import load_golden
from lmaczs.release_config import read_config
from lmaczs.signal.audio import make_clip

# Other CPUs, and other numbers of threads, round differently.
TOLERANCE = {"clap": 1e-4, "lmac-zs": 1e-3, "lmac-any": 1e-3, "l2i": 1e-3}
# Their masks depend on gradients, which jump where rounding carries a value over the corner of a ReLU: some cells then
# move by a few hundredths. The root mean square is held against the tolerance; of the others, the largest difference.
BY_GRADIENTS = ("lmac-zs", "lmac-any")
# The universal decoder belongs to no classifier: it is checked with this one.
GOLDEN_BACKEND = "compact-2"
# Asked one after the other until something in the golden sound speaks for one: an empty mask would prove little.
PROMPTS = (
    "this is the sound of an alarm clock",
    "this is the sound of a siren",
    "this is the sound of a beep",
    "this is the sound of a telephone",
)
# Every so many rows and columns of the mask are kept.
STRIDE = 4


def golden_sound(backend: CLAPBackend) -> Tensor:
    """A tone that comes and goes, in faint noise: (1, clip_samples)."""
    generator = torch.Generator().manual_seed(0)
    seconds = torch.arange(backend.clip_samples) / backend.spectral.sample_rate
    tone = 0.1 * torch.sin(2 * torch.pi * 1000 * seconds) * (seconds % 1 < 0.3)
    return (tone + 0.01 * torch.randn(backend.clip_samples, generator=generator)).unsqueeze(0)


def load_method(
    folder: Path, config: dict[str, Any], backend: CLAPBackend, head: torch.nn.Module | None = None
) -> Method:
    """The method of a release, read as a user reads it.

    Args:
        folder: of the release.
        config: what its config.json says.
        backend: that it was trained for.
        head: that it explains, where it is at hand.

    Raises:
        CheckpointError: the release is damaged, or was trained for another classifier.
    """
    if config["kind"] == "lmac-zs":
        return LMACZS.load(backend, config.get("decoder", {}).get("domain", "stft"), release=folder)
    if config["kind"] == "lmac-any":
        return LMACAny(backend, release=str(folder))
    return L2I.load(backend, release=folder)


def make_golden(method: Method, waveform: Tensor) -> dict[str, Tensor]:
    """What a method makes of a sound, for a prompt that the sound speaks for where there is one.

    Args:
        method: of the release.
        waveform: (1, samples) at the backend's rate.

    Returns:
        waveform; text_embedding (1, embed_dim) and number () of the prompt in the closed set, 0 for any prompt; and what
        `repeat_golden` gives.
    """
    prompts = method.prompts or method.backend.labels or PROMPTS
    found: dict[str, Tensor] = {}
    for number, prompt in enumerate(prompts):
        target = make_target(method.backend, prompt)
        values = _explain(method, waveform, target)
        if not found or values["mask"].any():
            text = target.embedding.cpu().unsqueeze(0)
            place = torch.tensor(number if method.prompts else 0)
            found = {"waveform": waveform, "text_embedding": text, "number": place, **values}
        if values["mask"].any():
            break
    return found


def repeat_golden(method: Method, golden: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the method makes now of the golden sound.

    Returns:
        mask (freq / 4, frames / 4); for L2I also relevance (components that are played,).
    """
    backend, text = method.backend, golden["text_embedding"][0]
    text = text.to(backend.mel_filters.device)
    # The closed set is known by number; the text encoder is not part of what is checked.
    prompt = method.prompts[int(golden["number"])] if method.prompts else "golden"
    target = Target(prompt, text, (), text.new_zeros(0, len(text)), "logit", float(backend.logit_scale))
    return _explain(method, golden["waveform"], target)


def golden_error(folder: Path, backend_weights: str | None = None) -> float:
    """How far what a release gives now is from what it gave then: see `BY_GRADIENTS`.

    Args:
        folder: a release.
        backend_weights: of the CLAP that a decoder was made for, where these are not the embedded or published ones.

    Raises:
        CheckpointError: the difference is too large, or the release carries nothing to compare with.
    """
    config, golden = read_config(folder), load_golden(folder)
    kind = config["kind"]
    if golden is None or kind not in TOLERANCE:
        raise CheckpointError(
            f"'{folder.name}' carries no golden tensors to check it by: export it with train/export.py."
        )
    fresh = _fresh(folder, config, golden, backend_weights)
    if missing := [name for name in fresh if name not in golden or golden[name].shape != fresh[name].shape]:
        raise CheckpointError(
            f"'{folder.name}' carries no '{missing[0]}' to check it by: run 'python -m train.rebind' on it."
        )
    error = max(_distance(fresh[name] - golden[name], kind in BY_GRADIENTS) for name in fresh)
    if not error <= TOLERANCE[kind]:
        raise CheckpointError(
            f"'{folder.name}' differs by {error:.2g} from what it gave at its export ({TOLERANCE[kind]:g} is accepted): "
            "export it again, for the CLAP that it is used with."
        )
    return error


def _distance(difference: Tensor, mean: bool) -> float:
    squares = difference.square()
    return float((squares.mean() if mean else squares.amax()).sqrt())


@torch.no_grad()
def _fresh(
    folder: Path, config: dict[str, Any], golden: dict[str, Tensor], backend_weights: str | None
) -> dict[str, Tensor]:
    if config["kind"] == "clap":
        values = golden_tensors(load_compact(folder), golden["waveform"])
        return {name: values[name] for name in ("embedding", "text_embedding")}
    backend = load_backend(config.get("backend", GOLDEN_BACKEND), "cpu", weights=backend_weights)
    return repeat_golden(load_method(folder, config, backend), golden)


def _explain(method: Method, waveform: Tensor, target: Target) -> dict[str, Tensor]:
    clip = make_clip(waveform[0], method.backend.spectral.sample_rate)
    explanation = method.explain(listen(clip, method.backend), target)
    values = {"mask": explanation.mask[::STRIDE, ::STRIDE].contiguous()}
    if explanation.components:
        values["relevance"] = torch.tensor([part.relevance for part in explanation.components])
    return values
