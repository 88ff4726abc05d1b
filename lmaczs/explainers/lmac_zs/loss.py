"""Objectives of LMAC-ZS: the paper's (eq. 6 and 7), and one that a faint constant mask cannot satisfy."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from lmaczs.clap.base import CLAPBackend
from lmaczs.explainers.areas import AREAS, cut_at_area
from lmaczs.explainers.details import details, standardise
from lmaczs.explainers.gradients import grid_power
from lmaczs.explainers.lmac_zs.decoder import DecoderOutput
from lmaczs.explainers.lmac_zs.score_decoder import Decoder
from lmaczs.explainers.masked_sound import encode_masked, encode_parts
from lmaczs.signal.spectral import power_to_db
from lmaczs.types import AudioState

# Bounds the pull of prompts that no mask brings out.
HOPELESS = 0.02


@dataclass(frozen=True)
class SpectrogramView:
    """What the decoder sees of windows besides the encoder's maps; the same for every prompt.

    Attributes:
        log_mel: (batch, n_mels, frames), standardised.
        cells: (batch, DETAILS, mask_bins, frames).
    """

    log_mel: Tensor
    cells: Tensor


def view_spectrogram(audio: AudioState, domain: str) -> SpectrogramView:
    """Prepare windows for the decoder, on the grid of its masks."""
    log_mel = power_to_db(audio.mel_power)
    return SpectrogramView(standardise(log_mel), details(power_to_db(grid_power(audio, domain))))


def decode_pairs(
    decoder: Decoder, audio: AudioState, view: SpectrogramView, rows: Tensor | slice, text: Tensor
) -> DecoderOutput:
    """Run the decoder on chosen pairs of windows and prompts in one pass.

    Args:
        decoder: of this backend.
        audio: (batch) windows, encoded once.
        view: of the same windows.
        rows: (pairs,) int64, window of each pair; a slice where each window has one prompt.
        text: (pairs, embed_dim), unit norm, prompt of each pair.
    """
    similarity = (audio.embedding[rows] * text).sum(1)
    hidden = tuple(level[rows] for level in audio.hidden)
    output: DecoderOutput = decoder(hidden, text, similarity, view.log_mel[rows], view.cells[rows])
    return output


def in_portions(compute: Callable[..., tuple[Tensor, ...]], count: int, at_once: int) -> tuple[Tensor, ...]:
    """Run a computation on pairs, keeping the activations of a few of them only; the others are computed again.

    The backward pass takes one portion after the other, so memory stops growing with the number of pairs.

    Args:
        compute: (some,) int64 numbers of pairs -> tensors (some, ...).
        count: pairs in all.
        at_once: pairs whose activations are kept; 0 keeps all and computes nothing twice.

    Returns:
        tensors (count, ...).
    """
    pairs = torch.arange(count)
    if not at_once or at_once >= count:
        return compute(pairs)
    portions = [checkpoint(compute, part, use_reentrant=False) for part in torch.split(pairs, at_once)]
    return tuple(torch.cat(parts) for parts in zip(*portions, strict=True))


def paper_loss(
    backend: CLAPBackend,
    decoder: Decoder,
    audio: AudioState,
    text: Tensor,
    sparsity_weight: float,
    diversity_weight: float,
    own: Tensor | None = None,
    at_once: int = 0,
) -> dict[str, Tensor]:
    """Paissan et al. 2024, eq. 6 and 7, over all text x audio pairs of a batch in one pass.

    The paper sums all three terms over the B x B pairs of a batch. Here all three are means over these pairs (eq. 7 is 0
    where text and audio belong together), so that lambda 1 and lambda 2 mean the same at any batch size; the paper's sum
    is B^2 times as large. Its l1 norm of a mask, a sum over cells, is a mean here, and independent of length.

    Args:
        backend: frozen, in eval mode, not under no_grad.
        decoder: its sigmoid output is the mask; areas are not fixed.
        audio: (windows) of the batch, or the part of it that this process has: means over the parts are the whole.
        text: (texts, embed_dim), the prompts of the whole batch, unit norm.
        sparsity_weight: lambda 1, on the mask's l1 norm as a mean over cells.
        diversity_weight: lambda 2, on the mean of eq. 7's terms over all pairs.
        own: (windows,) int64, which text belongs to each window; None where text i belongs to window i.
        at_once: pairs whose activations are kept, as in `in_portions`.

    Returns:
        scalars loss/faithfulness, loss/sparsity, loss/diversity; mask/mean without gradient.
    """
    texts, windows = len(text), len(audio.embedding)
    column = torch.arange(windows, device=text.device)
    own = column if own is None else own
    rows = column.repeat(texts)  # pair i * windows + j: text i with window j
    prompts = text.repeat_interleave(windows, dim=0)
    view = view_spectrogram(audio, decoder.config.domain)

    def compute(pairs: Tensor) -> tuple[Tensor, Tensor]:
        mask = torch.sigmoid(decode_pairs(decoder, audio, view, rows[pairs], prompts[pairs]).logits)
        return encode_masked(backend, audio, rows[pairs], mask, decoder.config.domain), mask.mean(dim=(1, 2))

    embedding, mask_mean = in_portions(compute, len(rows), at_once)
    kept = (embedding * prompts).sum(1)
    original = (audio.embedding[rows] * prompts).sum(1).detach()
    # (text i, window j, embed_dim).
    grid = embedding.reshape(texts, windows, -1)
    # Window j masked for its own text, against window j masked for text i.
    crossed = torch.einsum("jd,ijd->ij", grid[own, column], grid)
    apart = (text @ text[own].T - crossed).abs()
    apart = apart.masked_fill(torch.arange(texts, device=text.device)[:, None] == own, 0.0)
    return {
        "loss/faithfulness": (original - kept).abs().mean(),
        "loss/sparsity": sparsity_weight * mask_mean.mean(),
        "loss/diversity": diversity_weight * apart.mean(),
        "mask/mean": mask_mean.mean().detach(),
    }


@dataclass(frozen=True)
class Pairs:
    """Prompts to explain in a batch, with the sentences that they compete with.

    Attributes:
        rows: (pairs,) window of each pair.
        text: (pairs, embed_dim), unit norm.
        rivals: (rivals, embed_dim), unit norm: other sentences.
        ignored: (pairs, rivals) bool, rivals that mean the same as the pair's prompt.
        right: (pairs,) bool; False where the prompt names something that is not in the window.
        partner: (pairs,) index of the pair that names the other sound of the same window; -1 where there is none.
    """

    rows: Tensor
    text: Tensor
    rivals: Tensor
    ignored: Tensor
    right: Tensor
    partner: Tensor

    def __getitem__(self, chosen: Tensor) -> "Pairs":
        """Other pairs, in another order or number; partners are not carried over."""
        alone = torch.full_like(self.rows[chosen], -1)
        return Pairs(
            self.rows[chosen], self.text[chosen], self.rivals, self.ignored[chosen], self.right[chosen], alone
        )


def log_probability(embedding: Tensor, pairs: Pairs, scale: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log (1 - p) of each pair's prompt among its rivals.

    Args:
        embedding: (pairs, embed_dim), unit norm.
        pairs: prompts and rivals.
        scale: () logit scale.

    Returns:
        (pairs,), (pairs,).
    """
    own = scale * (embedding * pairs.text).sum(1)
    others = (scale * embedding @ pairs.rivals.T).masked_fill(pairs.ignored, float("-inf")).logsumexp(1)
    return F.logsigmoid(own - others), F.logsigmoid(others - own)


def contrast_loss(
    backend: CLAPBackend,
    decoder: Decoder,
    audio: AudioState,
    pairs: Pairs,
    area: Tensor,
    removed_weight: float,
    partner_weight: float,
    worth_weight: float,
    at_once: int = 0,
    softness: float | Tensor = 0.25,
) -> dict[str, Tensor]:
    """What is kept must be recognised as the prompt, what is removed must not, at a share of cells given from outside.

    The mask-in and mask-out terms are L-MAC's (Paissan et al. 2024b) with the prompt's probability among rival
    sentences in the place of a class; the fixed area replaces the l1 term, which a faint constant mask satisfies when
    the encoder sees levels in decibels. Where a window holds two sounds, what is removed for the one must be
    recognised as the other: the judge is still the frozen CLAP, which hears what the mask left of the mixture.
    Separate sources of mixtures are not used anywhere.

    Args:
        backend: frozen, in eval mode.
        decoder: of this backend.
        audio: (batch) windows.
        pairs: which prompts to explain.
        area: (right pairs,) share of cells to keep.
        removed_weight: of the mask-out term.
        partner_weight: of the term that looks for the other sound of a mixture in what is removed.
        worth_weight: of the head that learns how large a mask is worth keeping.
        at_once: pairs whose activations are kept, as in `in_portions`.
        softness: of the masks' edges, one or (right pairs,), as in `cut_at_area`.

    Returns:
        scalars loss/kept, loss/removed, loss/partner, loss/worth; and, without gradient, the probabilities reached.
    """
    right = pairs[pairs.right]
    view = view_spectrogram(audio, decoder.config.domain)
    edge = torch.as_tensor(softness, device=area.device).expand(len(area))

    def compute(pairs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rows = right.rows[pairs]
        output = decode_pairs(decoder, audio, view, rows, right.text[pairs])
        mask = cut_at_area(output.logits, area[pairs], edge[pairs])
        kept, removed = encode_parts(backend, audio, rows, mask, decoder.config.domain)
        return kept, removed, output.values

    kept, removed, worths = in_portions(compute, len(right.rows), at_once)
    scale = backend.logit_scale.detach()
    log_kept, _ = log_probability(kept, right, scale)
    log_removed, log_gone = log_probability(removed, right, scale)
    log_original, weight = _heard(audio, right, scale)
    weight = weight / weight.mean()
    partner_loss, partner_reached = _partner_loss(audio, pairs, removed, scale)
    # In [-1, 1]: what keeping this much is worth.
    reached = (log_kept.exp() - log_removed.exp()).detach()
    return {
        "loss/kept": -(weight * (log_kept.exp() + HOPELESS).log()).mean(),
        "loss/removed": -removed_weight * (weight * log_gone).mean(),
        "loss/partner": partner_weight * partner_loss,
        "loss/worth": worth_weight * _worth_loss(decoder, audio, pairs, area, worths, reached),
        "original/probability": log_original.exp().mean(),
        "kept/probability": log_kept.exp().mean().detach(),
        "removed/probability": log_removed.exp().mean().detach(),
        "removed/partner": partner_reached,
    }


@torch.no_grad()
def _heard(audio: AudioState, pairs: Pairs, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probability of each prompt in the whole window, and how much the pair counts.

    What the CLAP does not hear in the sound cannot be explained.

    Returns:
        (pairs,), (pairs,) > 0.
    """
    log_original, _ = log_probability(audio.embedding[pairs.rows].float(), pairs, scale)
    return log_original, log_original.exp().sqrt() + 0.05


def _partner_loss(audio: AudioState, pairs: Pairs, removed: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """What is removed for one sound of a mixture has to be recognised as the other.

    Args:
        audio: (batch) windows.
        pairs: all pairs.
        removed: (right pairs, embed_dim), embeddings of what the masks remove.
        scale: () logit scale.

    Returns:
        The loss, a mean over all pairs, and the partners' mean probability, both ().
    """
    partners = pairs.partner[pairs.right]
    # Partners are right pairs too.
    paired = partners >= 0
    partner = pairs[partners[paired]]
    log_partner, _ = log_probability(removed[paired], partner, scale)
    _, share = _heard(audio, partner, scale)
    loss = -(share * (log_partner.exp() + HOPELESS).log()).sum() / max(len(pairs.right), 1)
    return loss, log_partner.exp().sum().detach() / paired.sum().clamp_min(1)


def _worth_loss(
    decoder: Decoder, audio: AudioState, pairs: Pairs, area: Tensor, worths: Tensor, reached: Tensor
) -> Tensor:
    """How well the decoder foretells what keeping an area reaches; nothing is to be gained for a wrong prompt.

    Args:
        decoder: in training.
        audio: (batch) windows.
        pairs: all pairs.
        area: (right pairs,) share of cells that was kept.
        worths: (right pairs, len(AREAS)), what it foretold.
        reached: (right pairs,) in [-1, 1].

    Returns:
        ().
    """
    column = (area[:, None] - torch.tensor(AREAS, device=area.device)[None]).abs().argmin(1)
    loss = F.mse_loss(worths.gather(1, column[:, None])[:, 0], reached)
    wrong = ~pairs.right
    if not bool(wrong.any()):
        return loss
    rows, text = pairs.rows[wrong], pairs.text[wrong]
    hidden = tuple(level[rows] for level in audio.hidden)
    *_, values = decoder.listen(hidden, text, (audio.embedding[rows] * text).sum(1))
    return loss + values.square().mean()
