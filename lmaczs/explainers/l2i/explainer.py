"""Listen to Interpret (Parekh et al. 2022): a decision explained by a handful of NMF components that can be heard.

What is heard, what is kept. The paper's interpretation of a set of components is a share of the *logarithm* of the
magnitude, and so it has no rest to add up with. Components are therefore played as lanes (see
`lmaczs.explainers.l2i.interpretation`): sorted by relevance, each is what it adds to the ones before it. The mask is
the sum of the lanes above the threshold, which is exactly the paper's interpretation, on the input's phase; what it
removes is the rest, so that both add up to the input. The paper's removal, which takes the share out of the logarithm
(X2 = X - sum X_l) and so takes more, is `removal_gain`; the faithfulness figures of the paper's tables use it.

The default threshold is the lowest of the paper's. On 68 mixtures of ESC-50's fold 4 the sound above 0.1 convinced the
CLAP more of the prompt than that above 0.3 (mean probability 0.26 and 0.17; 0.19 for the whole mixture), and was nearer
to the source. A mask has twelve components at most, as many as are played one by one.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError
from lmaczs.explainers.base import ComponentExplainer, Decomposition, check_number, check_whole
from lmaczs.explainers.l2i.interpretation import (
    choose,
    gain_of_share,
    lane_gains,
    log_magnitude,
    relevance_of,
    share_of,
)
from lmaczs.explainers.l2i.networks import Interpreter, InterpreterConfig
from lmaczs.hub import load_release, rebuild, refuse_other_backend, trained_for, value_of
from lmaczs.types import AudioState, MaskDomain, TextState

KIND = "l2i"
COMPATS = ("paper", "released")
THRESHOLDS = {"paper": 0.1, "released": 0.2}  # of relevance
MOST = {
    "paper": 12,
    "released": 5,
}  # components of a mask; the paper has no limit, but nobody plays with more lanes


class L2I(ComponentExplainer):
    """L2I with an open vocabulary: Theta's class weights come from the prompt's embedding."""

    name: ClassVar[str] = "l2i"
    label: ClassVar[str] = "L2I"
    open_method: ClassVar[str] = "l2i"
    release_name: ClassVar[str] = "l2i-open-{backend}"

    def __init__(
        self,
        backend: CLAPBackend,
        interpreter: Interpreter,
        prompts: Sequence[str] | None = None,
        *,
        threshold: float | None = None,
        compat: str = "paper",
        griffin_lim: int = 0,
    ) -> None:
        """Wrap a trained interpreter.

        Args:
            backend: the CLAP that it was trained for.
            interpreter: in eval mode, on the backend's device.
            prompts: its closed set, in the order of its classes; None for any prompt.
            threshold: tau, relevance above which a component is part of the mask, 0 to 1; None is 0.1, or 0.2 as
                released.
            compat: "paper", or "released" for what the authors' code does: relevance relative to the plain maximum, the
                five most relevant components at most.
            griffin_lim: rounds of Griffin-Lim that make the phase of what is heard fit its magnitude; 0 keeps the
                recording's phase as the paper does.

        Raises:
            LMACError: an option is out of range.
        """
        super().__init__(backend, "stft")
        if compat not in COMPATS:
            raise LMACError(f"The option compat is '{compat}': choose 'paper' or 'released'.")
        self.interpreter = interpreter
        self.prompts = None if prompts is None else tuple(prompts)
        self.patterns = interpreter.dictionary
        self.released = compat == "released"
        self.most = MOST[compat]
        chosen = THRESHOLDS[compat] if threshold is None else threshold
        self.relevance_threshold = check_number("threshold", chosen, 0.0, 1.0)
        self.griffin_lim_steps = check_whole("griffin_lim", griffin_lim, 0)

    @classmethod
    def from_release(
        cls,
        backend: CLAPBackend,
        domain: MaskDomain = "stft",
        release: str | Path | None = None,
        threshold: float | None = None,
        compat: str = "paper",
        griffin_lim: int = 0,
    ) -> Self:
        """Load the interpreter that was trained for this backend.

        Args:
            backend: the CLAP.
            domain: "stft".
            release: folder, embedded name or hub id; None takes the embedded one for this backend.
            threshold: see `__init__`, and so the other options.

        Raises:
            LMACError: the domain is "mel", or an option is out of range.
            BackendUnavailableError: there is no such release.
            CheckpointError: it is damaged, or belongs to another backend.
        """
        if domain != "stft":
            raise LMACError(
                f"{cls.label} takes sounds apart in the stft domain, and '{domain}' was asked for: choose 'stft', or "
                "another method."
            )
        name = release or cls.release_name.format(backend=backend.name)
        interpreter, prompts = load_interpreter(name, backend)
        options = {"threshold": threshold, "compat": compat, "griffin_lim": griffin_lim}
        return cls(backend, interpreter, prompts, **options)  # type: ignore[arg-type]

    @torch.no_grad()
    def decompose(self, audio: AudioState, text: TextState) -> Decomposition:
        """See `ComponentExplainer.decompose`."""
        self.check_prompts(text.prompts)
        activations, pooled = self.interpreter(audio.hidden)
        weights = self.interpreter.theta.class_weights(self.class_keys(text))
        return Decomposition(activations, pooled * weights)

    def class_keys(self, text: TextState) -> Tensor:
        """Prompts as `Theta.class_weights` takes them: embeddings, or class numbers of the closed set."""
        if self.prompts is None:
            return text.embedding.to(self.patterns.device)
        return torch.tensor([self.prompts.index(prompt) for prompt in text.prompts])

    def relevance(self, contribution: Tensor) -> Tensor:
        """See `ComponentExplainer.relevance`; eq. in section 3.2."""
        return relevance_of(contribution, released=self.released)

    def chosen(self, relevance: Tensor) -> Tensor:
        """See `ComponentExplainer.chosen`."""
        return choose(relevance, self.relevance_threshold, self.most)

    @torch.no_grad()
    def lane_gains(self, spectrum: Tensor, activations: Tensor, order: Tensor) -> Tensor:
        """See `ComponentExplainer.lane_gains`."""
        log_mag = log_magnitude(spectrum.unsqueeze(0))[0]
        return lane_gains(self.patterns, activations, order, log_mag, released=self.released)

    @torch.no_grad()
    def masks(self, audio: AudioState, text: TextState) -> Tensor:
        """See `Explainer.masks`: the paper's interpretation of each window."""
        parts = self.decompose(audio, text)
        chosen = self.chosen(self.relevance(parts.contribution))
        share = share_of(self.patterns, parts.activations, chosen, released=self.released)
        return gain_of_share(share, log_magnitude(audio.stft))

    @torch.no_grad()
    def removal_gain(self, audio: AudioState, activations: Tensor, chosen: Tensor) -> Tensor:
        """The paper's removal of components, X2 = X - sum X_l (section 4.1), as a factor on the magnitude.

        Args:
            audio: (batch) windows.
            activations: (batch, components, frames).
            chosen: (batch, components) bool, what is removed.

        Returns:
            (batch, freq, frames) in [0, 1].
        """
        share = share_of(self.patterns, activations, chosen, released=self.released)
        return gain_of_share(1 - share, log_magnitude(audio.stft))


class L2IESC50(L2I):
    """L2I over a closed set, as in the paper: the 50 labels of ESC-50."""

    name: ClassVar[str] = "l2i-esc50"
    label: ClassVar[str] = "L2I ESC-50"
    release_name: ClassVar[str] = "l2i-esc50-{backend}"


def load_interpreter(
    release: str | Path, backend: CLAPBackend, head: nn.Module | None = None
) -> tuple[Interpreter, tuple[str, ...] | None]:
    """Interpreter of a release, in eval mode, and its closed set; errors as in `L2I.from_release`.

    Args:
        release: folder, embedded name or hub id.
        backend: the CLAP.
        head: whose decision is interpreted, where it is at hand.
    """
    found = load_release(release, kind=KIND)
    refuse_other_backend(found.config, backend, "L2I interpreter", "train_l2i.py", head)
    shape: InterpreterConfig = value_of(found, "interpreter", InterpreterConfig)
    interpreter = rebuild(lambda: Interpreter(shape), found, "interpreter").to(backend.mel_filters.device)
    return interpreter, value_of(found, "prompts", tuple[str, ...] | None)


def interpreter_config(
    backend: CLAPBackend, components: int, *, classes: int | None = None, pooling: str = "attention"
) -> InterpreterConfig:
    """The shape that fits a backend: a closed set of so many classes, or any prompt."""
    grid = backend.spectral
    return InterpreterConfig(
        hidden_channels=tuple(backend.hidden_channels),
        bins=grid.n_bins,
        frames=1 + backend.clip_samples // grid.hop_length,
        components=components,
        pooling=pooling,
        text_dim=backend.embed_dim if classes is None else None,
        classes=classes,
    )


def release_config(
    backend: CLAPBackend,
    interpreter: Interpreter,
    prompts: Sequence[str] | None,
    head: nn.Module | None = None,
) -> dict[str, Any]:
    """What a release folder says of an interpreter; `head` is what it explains, None the backend's own decision."""
    closed = None if prompts is None else list(prompts)
    return {**trained_for(backend, head), "prompts": closed, "interpreter": asdict(interpreter.config)}
