"""A tiny AST that has learned three synthetic sounds, as a classifier's folder."""

import torch
from networks import LABELS, taught
from tiny_models import tiny

from lmaczs.clap.labels.features import ASTFeatures, Fbank
from lmaczs.clap.labels.hugging_face import _kaldi


def save_taught_ast(folder, steps=250):
    """Teach it (seconds) and save it with its feature extractor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model, extractor = tiny("audio-spectrogram-transformer", dict(enumerate(LABELS)))
        fbank = Fbank(*_kaldi(extractor.num_mel_bins, 16000, "hann"))
        features = ASTFeatures(fbank, extractor.max_length, extractor.mean, extractor.std, True)
        model = taught(model, features, steps, rate=2e-3, varied=True)
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
