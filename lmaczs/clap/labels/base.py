"""A classifier with labels of its own behind the contract of a CLAP: logits are the embedding, labels the prompts."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend, full_precision
from lmaczs.clap.labels.front_ends import FrontEnd, MelPower
from lmaczs.clap.labels.layers import MapLayer
from lmaczs.clap.prompts import plain_prompt
from lmaczs.errors import LMACError, PromptError
from lmaczs.signal.spectral import filter_centres_hz, mel_filterbank, power_of, stft
from lmaczs.types import AudioState, MaskDomain

NAMED = 3


class LabelClassifier(CLAPBackend):
    """A frozen module that gives one logit a label.

    The similarity of a sound and a label is the label's logit, the logit scale is 1. Probabilities are relative to the
    labels that are asked for, as with every classifier here: all of them, or the chosen ones; a multi-label classifier
    decides on each by itself. The logits of a recording of several windows are the mean of theirs, weighted by how much
    of the time that sounds they cover.

    Attributes:
        front_end: what the module hears.
        module: gives the logits.
        layers: layers with maps, shallow to deep, by name; may be none.
    """

    def __init__(
        self,
        module: nn.Module,
        labels: Sequence[str],
        front_end: FrontEnd,
        multi_label: bool = False,
        name: str = "own",
        source: str = "",
    ) -> None:
        """Put module and front end together; nothing is run.

        Args:
            module: its input is that of the front end, its output (batch, labels) logits, or has them as `logits`.
            labels: in the order of the logits.
            front_end: what the module hears.
            multi_label: whether each label is decided on its own, by a sigmoid.
            name: in result files.
            source: what `load_backend` takes, if it came from there.

        Raises:
            LMACError: labels that cannot be told apart, or too few.
        """
        super().__init__()
        self.name, self.front_end, self.module = name, front_end, module
        self.source = source
        self.labels, self.multi_label = _checked(labels, multi_label), multi_label
        self.spectral = front_end.spectral
        self.clip_samples = round(front_end.clip_seconds * self.spectral.sample_rate)
        self.embed_dim = len(self.labels)
        self.hidden_channels = ()
        self.max_tokens = 1
        # A plain dictionary: as modules of their own their weights would stand in the state twice.
        self.layers: dict[str, MapLayer] = {}
        self._exact = {label: index for index, label in enumerate(self.labels)}
        self._plain = {plain_prompt(label): index for index, label in enumerate(self.labels)}
        own = front_end.mel_filters if isinstance(front_end, MelPower) else None
        filters = mel_filterbank(self.spectral) if own is None else own
        self.register_buffer("mel_filters", filters.float().contiguous(), persistent=False)

    def train(self, mode: bool = True) -> "LabelClassifier":
        """Stay in evaluation mode: it is explained as it decides."""
        return super().train(False)

    @property
    def logit_scale(self) -> Tensor:
        """1: the similarity is the logit."""
        return self.mel_filters.new_ones(())

    @property
    def cam_layers(self) -> dict[str, nn.Module]:
        """Layers with maps; none where none was found or named."""
        return {name: layer.module for name, layer in self.layers.items()}

    def layer_map(self, layer: str, output: Tensor) -> Tensor:
        """See `CLAPBackend.layer_map`."""
        return self.layers[layer].to_map(output)

    @property
    def mel_frequencies_hz(self) -> Tensor:
        """See `CLAPBackend.mel_frequencies_hz`: of the filters as they are."""
        return filter_centres_hz(self.mel_filters.cpu(), self.spectral)

    def analyze(self, waveform: Tensor, valid_samples: Tensor | None = None) -> AudioState:
        """See `CLAPBackend.analyze`."""
        audio = self.spectra(waveform, valid_samples)
        logits = audio.embedding
        # Recordings of different lengths may share a batch, and a waveform is heard as long as it is.
        for length in audio.valid_samples.unique():
            rows = torch.nonzero(audio.valid_samples == length)[:, 0]
            logits = logits.index_copy(0, rows, self._logits(self.front_end.original(audio[rows])))
        return replace(audio, embedding=logits)

    def spectra(self, waveform: Tensor, valid_samples: Tensor | None = None) -> AudioState:
        """What `analyze` gives, without a run of the module: all logits are 0."""
        with full_precision(waveform):
            spectrum = stft(waveform, self.spectral)
            mel = self.mel_power(power_of(spectrum))
        if valid_samples is None:
            valid_samples = torch.full((len(waveform),), waveform.shape[-1], device=waveform.device)
        logits = waveform.new_zeros(len(waveform), self.embed_dim)
        return AudioState(waveform, spectrum, mel, (), logits, valid_samples)

    def encode(self, mel_power: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode`; only a classifier that takes mel power can do it.

        Raises:
            LMACError: the classifier takes something else, and mel power alone does not tell what.
        """
        if not isinstance(self.front_end, MelPower):
            raise LMACError(
                f"The classifier '{self.name}' does not take mel power: give the windows too, with encode_changed."
            )
        return self._logits(self.front_end.transform(mel_power)), ()

    def encode_changed(
        self, power: Tensor, audio: AudioState, domain: MaskDomain
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """See `CLAPBackend.encode_changed`."""
        with full_precision(power):
            heard = self.front_end.changed(power, audio, domain, self.mel_filters)
        return self._logits(heard), ()

    def _logits(self, heard: Tensor) -> Tensor:
        found = self.module(heard)
        logits: Tensor = getattr(found, "logits", found)
        return logits.float()

    def pool(self, embeddings: Tensor, votes: Tensor) -> Tensor:
        """Mean logits of the windows, by their votes; see `CLAPBackend.pool`."""
        return votes @ embeddings

    def index_of(self, prompt: str) -> int:
        """The label that a prompt names: as it is written, or in its plain form ("this is the sound of a dog").

        Raises:
            PromptError: it names none.
        """
        found = self._exact.get(prompt, self._plain.get(plain_prompt(prompt)))
        if found is None:
            assert self.labels is not None
            some = ", ".join(f"'{label}'" for label in self.labels[:NAMED])
            rest = " and so on" if len(self.labels) > NAMED else ""
            raise PromptError(
                f"'{prompt}' is none of the {len(self.labels)} labels that this classifier was trained for "
                f"({some}{rest}): choose among them, or a classifier that takes any prompt."
            )
        return found

    def prompt_tokens(self, prompt: str) -> Sequence[int]:
        """See `CLAPBackend.prompt_tokens`: the number of the label."""
        return (self.index_of(prompt),)

    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors of the labels: (prompts, labels)."""
        rows = torch.tensor([self.index_of(prompt) for prompt in prompts])
        return torch.eye(self.embed_dim)[rows].to(self.mel_filters.device)


def _checked(labels: Sequence[str], multi_label: bool) -> tuple[str, ...]:
    """Labels without space around them.

    Raises:
        LMACError: see `LabelClassifier`.
    """
    cleaned = tuple(str(label).strip() for label in labels)
    if len(cleaned) < (1 if multi_label else 2):
        raise LMACError(f"{len(cleaned)} labels are too few: a classifier decides between two or more.")
    twins = sorted({label for label in cleaned if cleaned.count(label) > 1 or not label})
    if twins:
        raise LMACError(
            f"The label '{twins[0]}' is empty or stands twice: give each output a name of its own."
        )
    return cleaned
