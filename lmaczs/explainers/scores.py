"""The one number per window that a method explains."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.errors import LMACError

SCORES = {
    "cosine": "similarity of sound and prompt",
    "logit": "similarity times the model's logit scale",
    "probability": "of the prompt among its rivals",
    "contrastive": "logit of the prompt less the mean logit of its rivals",
}
COMPARING = ("probability", "contrastive")
ROUNDING = 2e-6  # of a cosine; float32 encoders reach 1e-7 when the size of a batch changes


class Score:
    """Scores embeddings of windows for prompts; differentiable in the embedding.

    Attributes:
        name: key in `SCORES`.
    """

    def __init__(self, backend: CLAPBackend, name: str = "logit", rivals: Sequence[str] = ()) -> None:
        """Choose a score; arguments and errors as in `lmaczs.explainers.base.AttributionExplainer`."""
        if name not in SCORES:
            known = ", ".join(f"'{key}'" for key in SCORES)
            raise LMACError(f"There is no score '{name}': choose one of {known}.")
        if name in COMPARING and not rivals:
            raise LMACError(
                f"The score '{name}' compares the prompt with others, and none was given: add prompts, or choose "
                "'cosine' or 'logit'."
            )
        self.name = name
        self.scale = float(backend.logit_scale)
        with torch.inference_mode(False):  # what is made in inference mode could take no part in a gradient
            self.rivals = backend.encode_text(rivals).embedding.detach() if name in COMPARING else None

    def __call__(self, embedding: Tensor, text: Tensor) -> Tensor:
        """Score windows.

        Args:
            embedding: (windows, embed_dim), unit norm.
            text: (windows, embed_dim) or (1, embed_dim), unit norm, prompt of each window.

        Returns:
            (windows,).

        Raises:
            LMACError: the score compares, and the only rival is the prompt itself.
        """
        cosine = (embedding * text).sum(-1)
        if self.rivals is None:
            return cosine if self.name == "cosine" else self.scale * cosine
        itself = (text @ self.rivals.T) > 1 - 1e-6
        if bool(itself.all(dim=-1).any()):
            raise LMACError(
                f"The score '{self.name}' compares the prompt with others, and it is the only one: add prompts, or "
                "choose 'cosine' or 'logit'."
            )
        own, others = self.scale * cosine, self.scale * (embedding @ self.rivals.T)
        if self.name == "contrastive":
            return own - (others * ~itself).sum(-1) / (~itself).sum(-1)
        return torch.sigmoid(own - others.masked_fill(itself, float("-inf")).logsumexp(-1))

    def told(self, difference: Tensor, whole: Tensor) -> Tensor:
        """Differences of scores, 0 where they are within rounding: divided by a maximum, that would pass for much.

        Args:
            difference: any shape, of scores of one window and its masked copies.
            whole: (1,), score of the window.
        """
        slope = torch.full_like(whole, 1.0 if self.name == "cosine" else self.scale)
        if self.name == "probability":
            slope = (slope * whole * (1 - whole)).clamp_min(0.05)  # a number near 1 has no finer steps
        return torch.where(difference.abs() > ROUNDING * slope, difference, 0.0)
