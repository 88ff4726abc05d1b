"""What is said of LMAC-ZS, whichever of its decoders a classifier has."""

from lmaczs.explainers.base import MethodEntry

ENTRY = MethodEntry(
    "lmac-zs",
    "LMAC-ZS",
    "Paissan et al. 2024",
    "A decoder, trained once for a classifier, masks the spectrogram for any prompt.",
    trained=True,
)
