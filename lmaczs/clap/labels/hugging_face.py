"""transformers' audio classifiers as backends: "hf:FOLDER", or "hf:owner/name@COMMIT" on the hub.

Whatever `AutoModelForAudioClassification` loads, from safetensors, without code of the repository's own; and two kinds of
models that take any prompt: ClapModel (`lmaczs.clap.laion`) and Perception Encoders (`lmaczs.clap.pe_audio`).
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.labels.base import LabelClassifier
from lmaczs.clap.labels.features import ASTFeatures, Fbank, Normalised, SeamlessFeatures, WhisperFeatures
from lmaczs.clap.labels.folders import (
    CONFIG,
    OPEN,
    folder_of,
    labels_in,
    read_json,
    shown_name,
    takes_any_prompt,
)
from lmaczs.clap.labels.front_ends import Waveform, waveform_grid
from lmaczs.clap.labels.layers import LAYERS, MapLayer, find_layers
from lmaczs.clap.labels.own import probes
from lmaczs.clap.pretrained import open_pretrained
from lmaczs.errors import BackendUnavailableError
from lmaczs.types import Progress

# Of models that read waveforms of any length.
CLIP_SECONDS = 10.0
# Smallest length that a convolutional front end of 20 ms steps can read with some frames.
LEAST_SAMPLES = 3200


def load_hugging_face(name: str, progress: Progress | None = None) -> CLAPBackend:
    """Load a classifier with labels, or a CLAP.

    Args:
        name: "hf:" and a folder, or "owner/name@COMMIT" with the full hash of a commit.
        progress: called while files are fetched, see `lmaczs.clap.load_backend`.

    Raises:
        BackendUnavailableError: there is no such folder or repository, or its kind cannot be loaded.
        CheckpointError: its files are damaged or do not belong together.
    """
    folder = folder_of(name, progress)
    config = read_json(folder / CONFIG)
    if takes_any_prompt(config):
        from lmaczs.clap.laion import load_clap_folder
        from lmaczs.clap.pe_audio import load_pe_audio

        load = load_clap_folder if config["model_type"] == "clap" else load_pe_audio
        return load(folder, shown_name(name), name)
    labels = labels_in(config)
    model, extractor = _opened(folder, config)
    front_end, features = _front_end(extractor, name)
    multi_label = config.get("problem_type") == "multi_label_classification"
    whole = _WithFeatures(features, model)
    classifier = LabelClassifier(whole, labels, front_end, multi_label, shown_name(name), name)
    classifier = classifier.eval().requires_grad_(False)
    classifier.layers = _layers(classifier, model)
    return classifier


def _opened(folder: Path, config: dict[str, Any]) -> tuple[nn.Module, Any]:
    """Model and feature extractor, from files alone."""
    from transformers import AutoFeatureExtractor, AutoModelForAudioClassification
    from transformers.models.auto.modeling_auto import MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES as KINDS

    kind = config.get("model_type")
    if kind not in KINDS:
        raise BackendUnavailableError(
            f"transformers has no audio classifier of the kind '{kind}': it has {', '.join(sorted(KINDS))}; and of "
            f"models for any prompt {', '.join(OPEN)} can be loaded."
        )
    if not list(folder.glob("*.safetensors")):
        raise BackendUnavailableError(
            "The classifier has no weights as safetensors, and other files are not opened: convert it with "
            "save_pretrained."
        )
    parts = "model and feature extractor"
    model, extractor = open_pretrained(
        folder, AutoModelForAudioClassification, (AutoFeatureExtractor,), "The classifier's", parts
    )
    return model, extractor


def _front_end(extractor: Any, name: str) -> tuple[Waveform, nn.Module]:
    """How masks reach the waveform, and the extractor's own part after it."""
    rate = int(extractor.sampling_rate)
    grid, kind = waveform_grid(rate), type(extractor).__name__
    if kind == "Wav2Vec2FeatureExtractor":
        return Waveform(grid, CLIP_SECONDS, least_samples=LEAST_SAMPLES), Normalised(extractor.do_normalize)
    if kind == "ASTFeatureExtractor":
        samples = (extractor.max_length - 1) * 160 + 400
        fbank = Fbank(*_kaldi(extractor.num_mel_bins, rate, "hann"))
        features = ASTFeatures(
            fbank, extractor.max_length, extractor.mean, extractor.std, extractor.do_normalize
        )
        return Waveform(grid, samples / rate, least_samples=LEAST_SAMPLES), features
    if kind == "SeamlessM4TFeatureExtractor":
        fbank = Fbank(*_kaldi(extractor.num_mel_bins, rate, "povey"), scale=2.0**15)
        front_end = Waveform(grid, CLIP_SECONDS, least_samples=LEAST_SAMPLES)
        return front_end, SeamlessFeatures(fbank, extractor.stride)
    if kind == "WhisperFeatureExtractor":
        filters = torch.from_numpy(extractor.mel_filters)
        whisper = WhisperFeatures(filters, extractor.n_fft, extractor.hop_length, extractor.n_samples)
        return Waveform(grid, extractor.n_samples / rate, least_samples=LEAST_SAMPLES), whisper
    raise BackendUnavailableError(
        f"The feature extractor {kind} of '{Path(name).name}' is not known: known are those of AST, wav2vec 2 and its "
        "family, wav2vec 2 BERT and Whisper; wrap the model with lmaczs.wrap_classifier."
    )


def _kaldi(bands: int, rate: int, window: str) -> tuple[Tensor, Tensor]:
    """Kaldi's mel filters and window, as the extractors make them."""
    from transformers.audio_utils import mel_filter_bank, window_function

    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=bands,
        min_frequency=20,
        max_frequency=rate // 2,
        sampling_rate=rate,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    return torch.from_numpy(filters), torch.from_numpy(window_function(400, window, periodic=False))


class _WithFeatures(nn.Module):
    """Waveform -> features -> logits."""

    def __init__(self, features: nn.Module, model: nn.Module) -> None:
        super().__init__()
        self.features, self.model = features, model

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, labels)."""
        logits: Tensor = self.model(self.features(waveform)).logits
        return logits


def _layers(classifier: LabelClassifier, model: nn.Module) -> dict[str, MapLayer]:
    """Blocks of the encoder that the decision depends on, evenly spaced."""
    config: Any = model.config
    numbered = {
        name: module
        for name, module in model.named_modules()
        if re.fullmatch(r"(?:.*\.)?layers?\.\d+", name) and "conv" not in name
    }
    if config.model_type == "audio-spectrogram-transformer":
        return _patch_layers(config, numbered)
    first, second = probes(classifier)
    return _spaced(find_layers(classifier.module, first, second, numbered))


def _patch_layers(config: Any, numbered: dict[str, nn.Module]) -> dict[str, MapLayer]:
    """Blocks of an AST: tokens of patches, frequency by time, after two of its own.

    The last block is left out: what it makes of patches is never read.
    """
    rows = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    columns = (config.max_length - config.patch_size) // config.time_stride + 1

    def to_map(output: Tensor) -> Tensor:
        patches: Tensor = output[:, 2:]
        # (batch, channels, freq, time).
        maps: Tensor = patches.transpose(1, 2).unflatten(2, (rows, -1))
        return maps.transpose(2, 3)

    return _spaced({name: MapLayer(layer, to_map, columns) for name, layer in list(numbered.items())[:-1]})


def _spaced(layers: dict[str, MapLayer]) -> dict[str, MapLayer]:
    """Up to `LAYERS` of them, the last one among them."""
    names = list(layers)
    if len(names) <= LAYERS:
        return layers
    chosen = [names[round((place + 1) * len(names) / LAYERS) - 1] for place in range(LAYERS)]
    return {name: layers[name] for name in chosen}
