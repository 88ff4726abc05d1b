"""From embeddings to a decision: cosine similarity, then logits, then probabilities; three things, three names."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lmaczs.types import Match, Prediction, TextState

PROMPT_TEMPLATE = "this is the sound of {label}"


def prompts_from_labels(labels: Sequence[str]) -> list[str]:
    """Put the paper's prefix before each label; underscores become spaces."""
    return [PROMPT_TEMPLATE.format(label=label.replace("_", " ").strip()) for label in labels]


def similarities(audio_embedding: Tensor, text_embedding: Tensor) -> Tensor:
    """Cosine similarity of every clip with every prompt (Paissan et al. 2024, eq. 5).

    Args:
        audio_embedding: (batch, embed_dim), unit norm.
        text_embedding: (prompts, embed_dim), unit norm.

    Returns:
        (batch, prompts), in [-1, 1].
    """
    return audio_embedding @ text_embedding.T


def probabilities(similarity: Tensor, logit_scale: Tensor, multi_label: bool = False) -> Tensor:
    """Zero-shot class probabilities (Paissan et al. 2024, eq. 8, with CLAP's temperature).

    Args:
        similarity: (batch, prompts) cosine, in [-1, 1].
        logit_scale: () = 1 / temperature.
        multi_label: each prompt by itself.

    Returns:
        (batch, prompts), rows sum to 1; sigmoids where `multi_label`.
    """
    logits = logit_scale * similarity
    return torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=-1)


def matches(similarity: Tensor, limits: tuple[float, float] | None) -> tuple[Match, ...]:
    """Whether prompts fit a clip, each by itself: a softmax always finds a best one, also where nothing fits.

    Args:
        similarity: (prompts,) cosine, in [-1, 1].
        limits: cosine from which a prompt matches weakly, and strongly: what 5 % and 1 % of prompts for other sounds
            reach on development clips. None: the model is not calibrated.

    Returns:
        One word for each prompt; nothing without limits.
    """
    if limits is None:
        return ()
    weak, strong = limits
    return tuple(
        "strong" if value >= strong else "weak" if value >= weak else "none" for value in similarity.tolist()
    )


def predict(
    audio_embedding: Tensor,
    text: TextState,
    logit_scale: Tensor,
    match_limits: tuple[float, float] | None = None,
    unit: str = "similarity",
    multi_label: bool = False,
) -> Prediction:
    """Decide for one clip.

    Args:
        audio_embedding: (embed_dim,), unit norm.
        text: the prompts of the task.
        logit_scale: () = 1 / temperature.
        match_limits: of the model, see `matches`.
        unit: what the similarities are, see `Prediction`.
        multi_label: see `probabilities`.
    """
    similarity = similarities(audio_embedding.unsqueeze(0), text.embedding)
    probability = probabilities(similarity, logit_scale, multi_label)[0]
    return Prediction(
        prompts=text.prompts,
        similarities=similarity[0],
        probabilities=probability,
        predicted=int(probability.argmax()),
        match=matches(similarity[0], match_limits),
        unit=unit,
        multi_label=multi_label,
    )
