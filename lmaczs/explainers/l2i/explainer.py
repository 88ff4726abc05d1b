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

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import Recording
from lmaczs.clap.target import Target
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Method, MethodEntry
from lmaczs.explainers.l2i.interpretation import (
    choose,
    gain_of_share,
    lane_gains,
    log_magnitude,
    relevance_of,
    share_of,
)
from lmaczs.explainers.l2i.networks import Interpreter, InterpreterConfig
from lmaczs.explainers.options import check_number, check_whole
from lmaczs.hub import load_release, rebuild, refuse_other_backend, trained_for, value_of
from lmaczs.signal.phase import griffin_lim
from lmaczs.signal.spectral import stft
from lmaczs.signal.windows import WindowPlan, clip_frames, stitch
from lmaczs.types import AudioState, Component, Explanation, MaskDomain, Progress, no_progress

KIND = "l2i"
COMPATS = ("paper", "released")
# Of relevance.
THRESHOLDS = {"paper": 0.1, "released": 0.2}
# Components of a mask; the paper has no limit, but nobody plays with more lanes.
MOST = {"paper": 12, "released": 5}
# That are played one by one.
MOST_PLAYED = 12
# Of the maps of all components together, 0.2 GB: of recordings above 2.5 minutes, fewer components are played.
COMPONENT_CELLS = 3 * 2**24


@dataclass(frozen=True, eq=False)
class L2I(Method):
    """L2I with an open vocabulary: Theta's class weights come from the prompt's embedding.

    Attributes:
        interpreter: trained for the backend, in eval mode, on its device.
        closed_set: the prompts that it was trained for, in the order of its classes; None for any prompt.
        threshold: tau, relevance above which a component is part of the mask, 0 to 1; None is 0.1, or 0.2 as released.
        compat: "paper", or "released" for what the authors' code does: relevance relative to the plain maximum, the
            five most relevant components at most.
        griffin_lim: rounds of Griffin-Lim that make the phase of what is heard fit its magnitude; 0 keeps the
            recording's phase as the paper does.
    """

    entry: ClassVar[MethodEntry] = MethodEntry(
        "l2i",
        "L2I",
        "Parekh et al. 2022",
        "Takes the sound apart into a few components and says which of them count.",
        domains=("stft",),
        trained=True,
    )
    release_name: ClassVar[str] = "l2i-open-{backend}"
    interpreter: Interpreter = field(kw_only=True, repr=False)
    closed_set: tuple[str, ...] | None = field(default=None, kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    compat: str = field(default="paper", kw_only=True)
    griffin_lim: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        """Check the options."""
        self.entry.check_domain(self.domain)
        if self.compat not in COMPATS:
            raise LMACError(f"The option compat is '{self.compat}': choose 'paper' or 'released'.")
        check_number("threshold", self.relevance_threshold, 0.0, 1.0)
        check_whole("griffin_lim", self.griffin_lim, 0)

    @classmethod
    def load(  # type: ignore[override]
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
            backend: the classifier.
            domain: "stft".
            release: folder, embedded name or hub id; None takes the embedded one for this backend.
            threshold: see the class, and so the other options.

        Raises:
            LMACError: the domain is "mel", or an option is out of range.
            BackendUnavailableError: there is no such release.
            CheckpointError: it is damaged, or belongs to another classifier.
        """
        interpreter, closed_set = load_interpreter(
            release or cls.release_name.format(backend=backend.name), backend
        )
        return cls(
            backend,
            domain,
            interpreter=interpreter,
            closed_set=closed_set,
            threshold=threshold,
            compat=compat,
            griffin_lim=griffin_lim,
        )

    @property
    def prompts(self) -> tuple[str, ...] | None:
        """See `Method.prompts`."""
        return self.closed_set

    @property
    def patterns(self) -> Tensor:
        """(freq, components) >= 0, the spectrum of each component."""
        return self.interpreter.dictionary

    @property
    def released(self) -> bool:
        """Whether it works as the authors' code."""
        return self.compat == "released"

    @property
    def relevance_threshold(self) -> float:
        """Relevance above which a component is part of the mask."""
        return THRESHOLDS[self.compat] if self.threshold is None else self.threshold

    def passes(self) -> float:
        """See `Method.passes`: the interpreter costs about two passes of the encoder."""
        return 2.0

    @torch.no_grad()
    def explain(self, recording: Recording, target: Target, progress: Progress = no_progress) -> Explanation:
        """See `Method.explain`: one relevance for each component in the whole recording, its gains window by window."""
        self.check_prompts((target.prompt,))
        plan, grid = recording.plan, self.backend.spectral
        found: list[tuple[Tensor, Tensor]] = []
        done = 0
        for audio in recording.batches(self.backend):
            found.append(self.decompose(audio, target))
            done += len(audio.embedding)
            progress(done / len(plan.windows), f"explaining with {self.label}")
        activations = torch.cat([active for active, _ in found])
        contribution = torch.cat([part for _, part in found])
        votes = torch.tensor([window.weight for window in plan.windows]).to(contribution)
        relevance = self.relevance((votes @ contribution).unsqueeze(0))
        above = int(self.chosen(relevance).sum())
        order = relevance[0].argsort(descending=True, stable=True)
        played = min(int((relevance > 0).sum()), self._most_played(plan))
        order = order[: max(above, played)]

        def gains() -> Iterator[Tensor]:
            """The mask, then each component that is played."""
            for spectrum, active in zip(recording.spectra(self.backend), activations, strict=True):
                each = self.lane_gains(spectrum, active, order)
                yield torch.cat([each[:above].sum(0, keepdim=True), each[:played]])

        stitched = stitch(gains(), plan, grid)
        active = stitch(activations, plan, grid)
        components = tuple(
            Component(
                index=number,
                relevance=float(relevance[0, number].clamp(-1, 1)),
                gain=gain,
                pattern=self.patterns[:, number].cpu(),
                activation=active[number],
            )
            for number, gain in zip(order[:played].tolist(), stitched[1:], strict=True)
        )
        return Explanation(
            self.name,
            target.prompt,
            stitched[0].clamp_(0, 1),
            self.domain,
            "present" if above else "absent",
            components=components,
            relevance_threshold=self.relevance_threshold,
        )

    def _most_played(self, plan: WindowPlan) -> int:
        """How many components are played one by one: MOST_PLAYED, or what memory has room for."""
        grid = self.backend.spectral
        cells = grid.n_bins * clip_frames(plan.num_samples, grid)
        return max(1, min(MOST_PLAYED, COMPONENT_CELLS // cells))

    def play(self, waveform: Tensor, gain: Tensor) -> Tensor:
        """See `Method.play`; with Griffin-Lim where it was asked for."""
        if not self.griffin_lim:
            return super().play(waveform, gain)
        grid, samples = self.backend.spectral, waveform.unsqueeze(0)
        return griffin_lim(stft(samples, grid) * gain, grid, samples.shape[1], self.griffin_lim)[0]

    @torch.no_grad()
    def decompose(self, audio: AudioState, target: Target) -> tuple[Tensor, Tensor]:
        """Find the components of windows, and what they add to the score of the prompt.

        Args:
            audio: (batch) windows.
            target: whose prompt is meant.

        Returns:
            activations: (batch, components, frames) >= 0, how strong each is when.
            contribution: (batch, components), signed.
        """
        activations, pooled = self.interpreter(audio.hidden, audio.stft.shape[2])
        weights = self.interpreter.theta.class_weights(self._class_key(target))
        return activations, pooled * weights

    def _class_key(self, target: Target) -> Tensor:
        """The prompt as `Theta.class_weights` takes it: its embedding, or its class number in the closed set."""
        if self.closed_set is None:
            return target.embedding.to(self.patterns.device).unsqueeze(0)
        return torch.tensor([self.closed_set.index(target.prompt)])

    def relevance(self, contribution: Tensor) -> Tensor:
        """Bring contributions (batch, components) to [-1, 1], relative to the largest; section 3.2."""
        return relevance_of(contribution, released=self.released)

    def chosen(self, relevance: Tensor) -> Tensor:
        """Say which components are part of the mask: (batch, components) -> bool."""
        return choose(relevance, self.relevance_threshold, MOST[self.compat])

    @torch.no_grad()
    def lane_gains(self, spectrum: Tensor, activations: Tensor, order: Tensor) -> Tensor:
        """Factors on the magnitude of one window that play its components; each adds to those before it.

        Args:
            spectrum: (freq, frames) complex.
            activations: (components, frames).
            order: (lanes,) component numbers.

        Returns:
            (lanes, freq, frames) in [0, 1]; their sum is 1 at most.
        """
        log_mag = log_magnitude(spectrum.unsqueeze(0))[0]
        return lane_gains(self.patterns, activations, order, log_mag, released=self.released)

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


@dataclass(frozen=True, eq=False)
class L2IESC50(L2I):
    """L2I over a closed set, as in the paper: the 50 labels of ESC-50."""

    entry: ClassVar[MethodEntry] = replace(
        L2I.entry,
        name="l2i-esc50",
        label="L2I ESC-50",
        sentence="L2I for the 50 labels of ESC-50 only, as in the paper.",
    )
    release_name: ClassVar[str] = "l2i-esc50-{backend}"


def load_interpreter(
    release: str | Path, backend: CLAPBackend, head: nn.Module | None = None
) -> tuple[Interpreter, tuple[str, ...] | None]:
    """Interpreter of a release, in eval mode, and its closed set; errors as in `L2I.load`.

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
    backend: CLAPBackend,
    components: int,
    *,
    classes: int | None = None,
    pooling: str = "attention",
    maps: int = 4,
) -> InterpreterConfig:
    """The shape that fits a backend: a closed set of so many classes, or any prompt; reads the deepest `maps` maps."""
    grid = backend.spectral
    return InterpreterConfig(
        hidden_channels=tuple(backend.hidden_channels[-maps:]),
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
