"""What is explained: the one number for each window that a method attributes, and the sentences in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError

SCORES = {
    "cosine": "similarity of sound and prompt; the logit of a classifier with labels",
    "logit": "similarity times the model's logit scale",
    "probability": "of the prompt among its rivals",
    "contrastive": "logit of the prompt less the mean logit of its rivals",
}
COMPARING = ("probability", "contrastive")
# Of a cosine; float32 encoders reach 1e-7 when the size of a batch changes.
ROUNDING = 2e-6


@dataclass(frozen=True, eq=False)
class Target:
    """One prompt and how it is scored; differentiable in the embedding of a sound.

    Attributes:
        prompt: the sentence that is explained.
        embedding: (embed_dim,) of the prompt, unit norm, on the backend's device.
        rivals: the other sentences that it competes with.
        rival_embeddings: (rivals, embed_dim), unit norm, on the backend's device.
        score: key in `SCORES`.
        scale: the backend's logit scale.
    """

    prompt: str
    embedding: Tensor
    rivals: tuple[str, ...]
    rival_embeddings: Tensor
    score: str
    scale: float

    def __call__(self, embedding: Tensor) -> Tensor:
        """Score windows: (windows, embed_dim) of unit norm -> (windows,)."""
        cosine = embedding @ self.embedding
        if self.score == "cosine":
            return cosine
        own = self.scale * cosine
        if self.score == "logit":
            return own
        others = self.scale * (embedding @ self.rival_embeddings.T)
        return (
            own - others.mean(-1)
            if self.score == "contrastive"
            else torch.sigmoid(own - others.logsumexp(-1))
        )

    def margin(self, embedding: Tensor) -> Tensor:
        """How far the prompt is ahead of its rivals, whatever the score is: (windows, embed_dim) -> (windows,).

        Its cosine less the smooth maximum of theirs; the logarithm of the odds is `scale` times as large. Unlike the
        probability's, its gradient does not vanish where the model is sure. Without rivals it is the cosine.
        """
        return margin_of(embedding, self.embedding, self.rival_embeddings, self.scale)

    def zero_below_rounding(self, difference: Tensor, whole: Tensor) -> Tensor:
        """Set differences of scores to 0 where float32 cannot tell them from none: a map is scaled later.

        Args:
            difference: any shape, of scores of one window and its masked copies.
            whole: (1,), score of the window.
        """
        slope = torch.full_like(whole, 1.0 if self.score == "cosine" else self.scale)
        # Logits of a classifier with labels have no scale.
        slope = torch.maximum(slope, whole.abs())
        if self.score == "probability":
            # A number near 1 has no finer steps.
            slope = (slope * whole * (1 - whole)).clamp_min(0.05)
        return torch.where(difference.abs() > ROUNDING * slope, difference, 0.0)


def margin_of(embedding: Tensor, own: Tensor, rivals: Tensor, scale: float) -> Tensor:
    """Cosine with one sentence less the smooth maximum of the cosines with its rivals: (windows,).

    Args:
        embedding: (windows, embed_dim), unit norm.
        own: (embed_dim,) or (windows, embed_dim).
        rivals: (rivals, embed_dim) or (windows, rivals, embed_dim); may be none.
        scale: the model's logit scale.
    """
    cosine = (embedding * own).sum(-1)
    if not rivals.shape[-2]:
        return cosine
    others = (rivals @ embedding.unsqueeze(-1)).squeeze(-1)
    return cosine - (scale * others).logsumexp(-1) / scale


def make_target(
    backend: CLAPBackend, prompt: str, rivals: Sequence[str] = (), score: str = "logit"
) -> Target:
    """Choose what is explained.

    Args:
        backend: the CLAP.
        prompt: sentence to explain.
        rivals: sentences that it competes with; the prompt may be one of them.
        score: key in `SCORES`; "probability" and "contrastive" compare the prompt with its rivals.

    Raises:
        PromptError: a sentence cannot be used.
        LMACError: no such score, or it compares and there is no rival.
    """
    if score not in SCORES:
        known = ", ".join(f"'{key}'" for key in SCORES)
        raise LMACError(f"There is no score '{score}': choose one of {known}.")
    # What is made in inference mode could take no part in a gradient.
    with torch.inference_mode(False), torch.no_grad():
        # All at once: a prompt that the model cannot tell from a rival is refused before any work is done.
        sentences = tuple(dict.fromkeys(sentence.strip() for sentence in (*rivals, prompt)))
        vectors = backend.encode_text(sentences).embedding.clone()
        own = sentences.index(prompt.strip())
        embedding = vectors[own]
        # Of models whose similarity is a logit the vectors have any length.
        distinct = F.cosine_similarity(vectors, embedding[None]) <= 1 - 1e-6
        distinct[own] = False
        rival_embeddings = vectors[distinct]
        if backend.multi_label:
            # A prompt that is decided on by itself competes with its own absence, whose logit is 0.
            return Target(
                sentences[own],
                embedding,
                (f"not {sentences[own]}",),
                torch.zeros_like(embedding)[None],
                score,
                float(backend.logit_scale),
            )
    kept = tuple(rival for rival, other in zip(sentences, distinct.tolist(), strict=True) if other)
    if score in COMPARING and not kept:
        raise LMACError(
            f"The score '{score}' compares the prompt with others, and it is the only one: add prompts, or choose "
            "'cosine' or 'logit'."
        )
    return Target(sentences[own], embedding, kept, rival_embeddings, score, float(backend.logit_scale))
