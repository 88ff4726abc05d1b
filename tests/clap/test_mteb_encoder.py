"""mteb measures with a classifier of this package what the package measures itself."""

import json
import warnings

import pytest
import torch

from lmaczs import load_backend, wrap_classifier
from lmaczs.clap.labels.front_ends import Waveform
from lmaczs.errors import LMACError
from lmaczs.hearing import classify, listen

mteb = pytest.importorskip("mteb")

from miniature_task import LABELS, Miniature, clips  # noqa: E402

from lmaczs.clap.mteb_encoder import MTEBEncoder  # noqa: E402


class ThreeBands(torch.nn.Module):
    """How loud a sound is in three bands."""

    def forward(self, waveform):
        spectrum = torch.fft.rfft(waveform).abs().square()
        return torch.stack(
            [part.mean(-1).log10() for part in spectrum.split(spectrum.shape[-1] // 3 + 1, -1)], -1
        )


BACKENDS = {
    "compact-2": lambda: load_backend("compact-2"),
    "debug": lambda: load_backend("debug"),
    "labels": lambda: wrap_classifier(ThreeBands(), Miniature.names, front_end=Waveform.at(16000, 2.0)),
}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_task_gives_the_package_s_own_decisions(name, tmp_path):
    backend = BACKENDS[name]()
    heard = [classify(listen(clip, backend), list(Miniature.names), backend) for clip in clips()]
    right = [one.predicted == label for one, label in zip(heard, LABELS, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = mteb.evaluate(
            MTEBEncoder(backend), Miniature(), cache=None, prediction_folder=tmp_path, show_progress_bar=False
        )
    (scores,) = result.task_results[0].scores["test"]
    assert scores["accuracy"] == pytest.approx(sum(right) / len(right))
    (file,) = tmp_path.rglob("*.json")
    told = torch.tensor(json.loads(file.read_text())["default"]["test"])
    assert torch.allclose(told, torch.stack([one.similarities for one in heard]), atol=1e-5)


def test_a_sentence_too_long_for_the_encoder_is_cut_and_a_picture_refused():
    backend = load_backend("compact-2")
    encoder = MTEBEncoder(backend)
    words = "a dog barking " * 200

    def encode(batch):
        return encoder.encode([batch], task_metadata=None, hf_split="", hf_subset="", show_progress_bar=False)

    found = encode({"text": [words, "rain"]})
    assert found.shape == (2, backend.embed_dim)
    assert torch.equal(found[1], backend.encode_text(["rain"]).embedding[0])
    assert float(found[0] @ backend.encode_text(["a dog barking"]).embedding[0]) > 0.5
    with pytest.raises(LMACError, match="takes 'audio' and 'text'"):
        encode({"image": [1]})
    assert encoder.mteb_model_meta.name == "lmaczs/compact-2"
