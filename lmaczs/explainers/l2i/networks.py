"""The interpreter: Psi turns the encoder's hidden maps into activations of a dictionary, Theta mimics the decision.

Parekh et al. 2022, section 3.1. Psi brings frequency down and time up until there is one row for each component and one
column for each frame. Theta pools the rows over time and is linear from there, so every component has a contribution
to every prompt's logit. The classes of a closed set have a weight each, as in the paper; the open vocabulary, which the
paper has not, gets its weights from the prompt's embedding by a linear map.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POOLINGS = ("attention", "max")


@dataclass(frozen=True)
class InterpreterConfig:
    """Shape of an interpreter; stored in config.json of its release.

    Attributes:
        hidden_channels: of the encoder's deepest maps, shallow to deep; the paper reads the last three.
        bins: rows of the dictionary.
        frames: columns of the activations.
        components: columns of the dictionary, K.
        pooling: "attention" or "max".
        text_dim: width of the prompts' embedding; None for a closed set.
        classes: of a closed set; None for any prompt.
        width: channels inside Psi.
        bands: rows of frequency that Psi keeps apart before it drops the axis.
        dropout: share of Psi's channels that are silenced in training.
    """

    hidden_channels: tuple[int, ...]
    bins: int
    frames: int
    components: int = 100
    pooling: str = "attention"
    text_dim: int | None = None
    classes: int | None = None
    width: int = 192
    bands: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what no interpreter can have.

        Raises:
            ValueError: a value is out of range.
        """
        if self.pooling not in POOLINGS:
            raise ValueError(f"there is no pooling '{self.pooling}': choose one of {', '.join(POOLINGS)}")
        if (self.text_dim is None) == (self.classes is None):
            raise ValueError("an interpreter has either text_dim or classes")
        open_or_closed = self.classes if self.text_dim is None else self.text_dim
        sizes = (*self.hidden_channels, self.bins, self.frames, self.components, self.width, self.bands)
        if not all(1 <= size <= 65_536 for size in (*sizes, open_or_closed or 0)):
            raise ValueError("a size is outside 1 to 65536")
        if not self.hidden_channels or not 0 <= self.dropout < 1:
            raise ValueError("an interpreter needs maps and a dropout from 0 to below 1")


class Entrance(nn.Module):
    """One hidden map: mixed, frequency brought down to a few bands, the bands folded into channels."""

    def __init__(self, channels: int, inner: int, bands: int, width: int) -> None:
        super().__init__()
        self.bands = bands
        self.mix = nn.Conv2d(channels, inner, 3, padding=1)
        self.norm = nn.GroupNorm(8, inner)
        self.fold = nn.Conv1d(inner * bands, width, 1)

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """(batch, channels, time, freq) -> (batch, width, frames)."""
        maps = F.relu(self.norm(self.mix(maps)))
        if maps.shape[3] != self.bands:
            maps = F.adaptive_avg_pool2d(maps, (maps.shape[2], self.bands))
        rows: Tensor = self.fold(maps.transpose(2, 3).flatten(1, 2))
        if rows.shape[2] != frames:
            rows = F.interpolate(rows, frames, mode="linear", align_corners=False)
        return rows


class Psi(nn.Module):
    """Hidden maps -> activations."""

    def __init__(self, config: InterpreterConfig) -> None:
        """Build with fresh weights."""
        super().__init__()
        self.frames = config.frames
        width = config.width
        self.entrances = nn.ModuleList(
            Entrance(channels, max(width // 4, 8), config.bands, width) for channels in config.hidden_channels
        )
        self.dropout = nn.Dropout1d(config.dropout)
        self.coarse = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(2))
        self.norms = nn.ModuleList(nn.GroupNorm(8, width) for _ in range(2))
        self.fine = nn.Conv1d(width, config.components, 5, padding=2)
        self.last = nn.Conv1d(config.components, config.components, 5, padding=2)

    def forward(self, hidden: tuple[Tensor, ...], frames: int | None = None) -> Tensor:
        """Maps, shallow to deep, each (batch, channels, time, freq) -> (batch, components, frames) >= 0.

        Of more maps than there are entrances the deepest are read. Without `frames` there are those of a whole window.
        """
        hidden = hidden[-len(self.entrances) :]
        steps = max(maps.shape[2] for maps in hidden)
        rows = torch.stack([enter(maps, steps) for enter, maps in zip(self.entrances, hidden, strict=True)])
        rows = self.dropout(F.relu(rows.sum(0)))
        for mix, norm in zip(self.coarse, self.norms, strict=True):
            rows = rows + F.relu(norm(mix(rows)))
        size = self.frames if frames is None else frames
        rows = F.interpolate(F.relu(self.fine(rows)), size, mode="linear", align_corners=False)
        return F.relu(self.last(rows))


class AttentionPooling(nn.Module):
    """z = H a, a from gated attention over time (Ilse et al. 2018): the paper's Theta_ATT."""

    def __init__(self, components: int, width: int = 128) -> None:
        super().__init__()
        self.value = nn.Linear(components, width)
        self.gate = nn.Linear(components, width)
        self.score = nn.Linear(width, 1)

    def forward(self, activations: Tensor) -> Tensor:
        """(batch, components, frames) -> (batch, components)."""
        rows = activations.transpose(1, 2)
        score = self.score(torch.tanh(self.value(rows)) * torch.sigmoid(self.gate(rows)))
        return (activations @ torch.softmax(score, dim=1))[:, :, 0]


class MaxPooling(nn.Module):
    """z_k = max over time: the paper's Theta_MAX."""

    def forward(self, activations: Tensor) -> Tensor:
        """(batch, components, frames) -> (batch, components)."""
        return activations.amax(dim=2)


class Theta(nn.Module, ABC):
    """Pooled activations times class weights: logits."""

    def __init__(self, config: InterpreterConfig) -> None:
        super().__init__()
        self.pool = AttentionPooling(config.components) if config.pooling == "attention" else MaxPooling()

    @abstractmethod
    def class_weights(self, prompts: Tensor) -> Tensor:
        """Weights of the components: (prompts, components).

        Args:
            prompts: of a closed set: (prompts,) int64 class numbers; of the open vocabulary: (prompts, text_dim)
                embeddings, unit norm.
        """


class ClosedTheta(Theta):
    """A weight for each class and component, without a bias, so that contributions sum to the logit."""

    def __init__(self, config: InterpreterConfig) -> None:
        """Build with fresh weights."""
        super().__init__(config)
        assert config.classes is not None
        self.linear = nn.Linear(config.components, config.classes, bias=False)

    def class_weights(self, prompts: Tensor) -> Tensor:
        """See `Theta.class_weights`."""
        return self.linear.weight[prompts]


class OpenTheta(Theta):
    """Weights of a prompt from its embedding t: P (t - centre).

    What all prompts share says nothing for one of them, and cancels in the softmax; the centre, the mean embedding of
    the prompts in training, takes it out of the contributions.
    """

    centre: Tensor

    def __init__(self, config: InterpreterConfig) -> None:
        """Build with fresh weights."""
        super().__init__(config)
        assert config.text_dim is not None
        self.linear = nn.Linear(config.text_dim, config.components, bias=False)
        self.register_buffer("centre", torch.zeros(config.text_dim))

    def class_weights(self, prompts: Tensor) -> Tensor:
        """See `Theta.class_weights`."""
        weights: Tensor = self.linear(prompts - self.centre)
        return weights


class Interpreter(nn.Module):
    """Psi, Theta and the dictionary that makes Psi's output a decomposition of the sound.

    Attributes:
        dictionary: (bins, components) >= 0, columns of unit norm; never trained here.
    """

    dictionary: Tensor

    def __init__(self, config: InterpreterConfig, dictionary: Tensor | None = None) -> None:
        """Build with fresh weights.

        Args:
            config: shape.
            dictionary: (bins, components) from `lmaczs.explainers.l2i.nmf`; None leaves room for weights to be loaded.
        """
        super().__init__()
        self.config = config
        self.psi = Psi(config)
        self.theta: Theta = ClosedTheta(config) if config.text_dim is None else OpenTheta(config)
        empty = torch.zeros(config.bins, config.components)
        self.register_buffer("dictionary", empty if dictionary is None else dictionary.clone())

    def forward(self, hidden: tuple[Tensor, ...], frames: int | None = None) -> tuple[Tensor, Tensor]:
        """Decompose windows.

        Args:
            hidden: four maps, shallow to deep, each (batch, channels, time, freq).
            frames: of the windows, where they are shorter than those of the training.

        Returns:
            activations (batch, components, frames) >= 0; pooled (batch, components) >= 0.
        """
        activations = self.psi(hidden, frames)
        return activations, self.theta.pool(activations)

    def logits(self, pooled: Tensor, prompts: Tensor) -> Tensor:
        """What Theta thinks: (batch, components) and prompts as in `Theta.class_weights` -> (batch, prompts)."""
        return pooled @ self.theta.class_weights(prompts).T
