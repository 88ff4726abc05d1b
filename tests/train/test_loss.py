"""The objectives in training: lambdas mean the same at any size of the batch."""

import pytest
import torch

from lmaczs.explainers.lmac_zs.explainer import build_decoder, decoder_config
from lmaczs.explainers.lmac_zs.loss import paper_loss


def test_lambda_2_weighs_the_same_in_batches_of_any_size(debug_backend, make_beep):
    torch.manual_seed(0)
    decoder = build_decoder(debug_backend, decoder_config(debug_backend, "stft")).eval()
    window, text = make_beep().waveform, debug_backend.encode_text(["a beep"]).embedding
    found = {}
    for size in (2, 6):
        with torch.no_grad():
            audio = debug_backend.analyze(window.expand(size, -1))
            report = paper_loss(debug_backend, decoder, audio, text.expand(size, -1), 0.5, 0.25)
        found[size] = {name: float(value) for name, value in report.items()}
    # Equal windows and texts: every pair has the same terms, but eq. 7 leaves out the size pairs that belong together.
    assert found[6]["loss/faithfulness"] == pytest.approx(found[2]["loss/faithfulness"], rel=1e-3)
    assert found[6]["loss/diversity"] * 6 / 5 == pytest.approx(found[2]["loss/diversity"] * 2, rel=1e-3)
