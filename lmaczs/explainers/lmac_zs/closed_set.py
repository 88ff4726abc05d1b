"""The objective of L-MAC (Paissan et al. 2024, "Listenable Maps for Audio Classifiers"), for labels that are fixed."""

import torch
import torch.nn.functional as F
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.lmac_zs.loss import decode_pairs, in_portions, view_spectrogram
from lmaczs.explainers.lmac_zs.score_decoder import Decoder
from lmaczs.explainers.masked_sound import encode_parts
from lmaczs.types import AudioState


def closed_set_loss(
    backend: CLAPBackend,
    decoder: Decoder,
    audio: AudioState,
    text: Tensor,
    kept_weight: float,
    removed_weight: float,
    sparsity_weight: float,
    at_once: int = 0,
) -> dict[str, Tensor]:
    """Eq. 4 of the LMAC-ZS paper with the mask-out term that it leaves out for brevity.

    The cross-entropy between the classifier's own decision and what it decides of the kept part, less that of the removed
    part, and the mask's l1 norm as a mean over cells. Nothing but the classifier says what is right. A classifier that
    decides on each label by itself is explained for its most probable label, with the sigmoid's cross-entropy.

    Args:
        backend: frozen, in eval mode, not under no_grad.
        decoder: its sigmoid output is the mask.
        audio: (windows).
        text: (labels, embed_dim), the closed set.
        kept_weight: of the mask-in term.
        removed_weight: of the mask-out term, which has no bound: a small number.
        sparsity_weight: lambda.
        at_once: windows whose activations are kept, as in `in_portions`.

    Returns:
        scalars loss/kept, loss/removed, loss/sparsity; and, without gradient, the probabilities of the decision in the
        whole, the kept and the removed part, and mask/mean.
    """
    scale = backend.logit_scale.detach()
    view = view_spectrogram(audio, decoder.config.domain)

    def log_probabilities(embedding: Tensor) -> Tensor:
        logits = scale * embedding @ text.T
        return F.logsigmoid(logits) if backend.multi_label else logits.log_softmax(1)

    whole = log_probabilities(audio.embedding.float())
    decided = whole.argmax(1)
    prompts = text[decided]

    def compute(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mask = torch.sigmoid(decode_pairs(decoder, audio, view, rows, prompts[rows]).logits)
        return *encode_parts(backend, audio, rows, mask, decoder.config.domain), mask.mean(dim=(1, 2))

    kept, removed, mask_mean = in_portions(compute, len(decided), at_once)
    own = [
        log_probabilities(part).gather(1, decided[:, None])[:, 0] for part in (audio.embedding, kept, removed)
    ]
    return {
        "loss/kept": -kept_weight * own[1].mean(),
        "loss/removed": removed_weight * own[2].mean(),
        "loss/sparsity": sparsity_weight * mask_mean.mean(),
        "original/probability": own[0].exp().mean().detach(),
        "kept/probability": own[1].exp().mean().detach(),
        "removed/probability": own[2].exp().mean().detach(),
        "mask/mean": mask_mean.mean().detach(),
    }
