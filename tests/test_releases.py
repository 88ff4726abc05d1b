"""The embedded weights still give what they gave when they were exported."""

import torch

from lmaczs import load_backend, load_explainer
from lmaczs.hub import find_release, load_golden
from lmaczs.types import TextState


def test_embedded_decoder_reproduces_its_golden_mask():
    backend = load_backend("compact")
    golden = load_golden(find_release("lmac-zs-compact-stft"))
    with torch.no_grad():
        audio = backend.analyze(golden["waveform"])
    text = TextState(("alarm clock",), golden["text_embedding"])
    mask = load_explainer("lmac-zs", backend).masks(audio, text)
    # A soft edge is steep: 1e-3 of the mask is 1e-3 / 3 of a standard deviation of the logits.
    assert (mask[:, ::4, ::4] - golden["mask"]).abs().max() < 1e-3
