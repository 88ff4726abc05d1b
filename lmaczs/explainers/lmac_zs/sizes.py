"""How many cells LMAC-ZS keeps: the classifier hears masks of several sizes, and the smallest that is enough is kept."""

import torch
from torch import Tensor

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.target import Target
from lmaczs.explainers.areas import as_normal, cut_normal
from lmaczs.explainers.masked_sound import encode_kept
from lmaczs.types import AudioState

# Shares of the cells that the classifier is asked about, by halving: three masks decide.
SIZES = (0.02, 0.05, 0.1, 0.2, 0.3)
HALVINGS = (len(SIZES) - 1).bit_length()
# Softness of a mask's edge, in standard deviations of its order.
EDGE = 0.35
# A mask is enough if what it keeps is that much of the way from the whole window's probability to certainty (or has that
# probability), and what it removes has at most that share of the window's. Chosen on 60 development clips.
SURER, CERTAIN, LEFT = 0.25, 0.995, 0.1
# A mask brings the prompt out if the classifier says it of what is kept, as surely as if it had so many rivals: among
# three prompts a part is easily found that says any of them. On 80 development clips and 80 mixtures of two, with 50
# labels, 55 % of the labels that are there but not the first choice reach this, and 5 % of those that are not there. With
# 3 to 10 prompts 3 to 15 % of those that are not there are called present (28 % if the number of rivals did not count).
LIKE_RIVALS = 49


def brought_out(rivals: int) -> float:
    """Probability among so many rivals that is one half among LIKE_RIVALS of the same kind."""
    return 1 / (1 + rivals / max(LIKE_RIVALS, rivals)) if rivals else 0.5


@torch.no_grad()
def smallest_that_is_enough(
    backend: CLAPBackend, audio: AudioState, target: Target, logits: Tensor, domain: str
) -> tuple[Tensor, Tensor]:
    """Keep the cells that come first, as few as the classifier needs to say the prompt, and no longer without them.

    Args:
        backend: the classifier.
        audio: (windows).
        target: the prompt, with or without rivals.
        logits: (windows, freq, frames); a higher cell speaks more for the prompt.
        domain: of the mask.

    Returns:
        (windows, freq, frames) in (0, 1), of the largest size where none is enough; and (windows,) bool, whether the
        classifier said the prompt of what one of the masks kept: see `brought_out`.
    """
    ranks = as_normal(logits)
    known = target.margin(audio.embedding)
    # Without rivals a similarity says little by itself: it is compared with that of the whole window.
    origin = torch.zeros_like(known) if target.rivals else known
    whole = torch.sigmoid(target.scale * (known - origin))
    needed = (whole + SURER * (1 - whole)).clamp_max(CERTAIN)
    sizes = torch.tensor(SIZES, device=logits.device)
    smallest = torch.zeros_like(known, dtype=torch.long)
    largest = torch.full_like(smallest, len(SIZES) - 1)
    said = torch.zeros_like(known, dtype=torch.bool)
    last = torch.full_like(smallest, -1)
    likely = brought_out(len(target.rivals))
    for _ in range(HALVINGS):
        asked = (smallest + largest) // 2
        # Where the size is found, the largest mask may still bring the prompt out; one that was heard is not heard again.
        unheard = (asked == len(SIZES) - 1) & (last != asked) & ~said
        rows = torch.nonzero((smallest < largest) | unheard)[:, 0]
        if not len(rows):
            break
        mask = cut_normal(ranks[rows], sizes[asked[rows]], EDGE)
        kept, encode_removed = encode_kept(backend, audio, rows, mask, domain)
        sure = torch.sigmoid(target.scale * (target.margin(kept) - origin[rows]))
        said[rows] |= sure >= likely
        enough = sure >= needed[rows]
        # What is removed is heard only where it decides.
        decides = torch.nonzero(enough)[:, 0]
        if len(decides):
            margin = target.margin(encode_removed(decides)) - origin[rows[decides]]
            enough[decides] = torch.sigmoid(target.scale * margin) <= LEFT * whole[rows[decides]]
        last[rows] = asked[rows]
        largest[rows] = torch.where(enough, asked[rows], largest[rows])
        smallest[rows] = torch.where(enough, smallest[rows], (asked[rows] + 1).minimum(largest[rows]))
    return cut_normal(ranks, sizes[largest], EDGE), said
