"""GLAP (Dinkel et al. 2025; Dasheng and SONAR) from the checkpoint that its authors published, `glap_checkpoint.pt`.

Reference: the package glap-model. Differences, all on purpose: sound that is shorter than the window of 10 s is tiled to
its end where the reference hears it alone, and a longer one is covered by windows where the reference pads the last one
with 0 dB. Sentences are read as English; the vocabulary knows 200 languages.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lmaczs.clap.convert import HANN_TOLERANCE, KeyMap, load_strictly, read_checkpoint
from lmaczs.clap.dasheng import MAPS, Dasheng, DashengConfig
from lmaczs.clap.published import PublishedCLAP
from lmaczs.clap.sonar import SentencePieces, SonarConfig, SonarTower
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.signal.spectral import SpectralConfig

NAME, WEIGHTS, VOCABULARY = "glap", "glap_checkpoint.pt", "sentencepiece.source.256000.model"
GRID = SpectralConfig(sample_rate=16000, n_fft=512, hop_length=160, n_mels=64, f_min=0.0, f_max=8000.0)
CLIP_SECONDS = 10
# Scores of the reference are so many times the cosine.
LOGIT_SCALE = 100.0
# Channels of an attention head, in both encoders.
HEAD_WIDTH = 64
FRONT = "audio_encoder.model.front_end.0."
FILTERS, WINDOW = f"{FRONT}mel_scale.fb", f"{FRONT}spectrogram.window"
PATCHES = "audio_encoder.model.patch_embed.proj.weight"
WORDS = "text_encoder.model.encoder_frontend.embed.weight"

KEYS = KeyMap(
    renamed=(
        (r"^audio_encoder\.model\.init_bn\.1\.", "encoder.bn0."),
        (r"^audio_encoder\.model\.", "encoder."),
        (r"^text_encoder\.model\.encoder_frontend\.embed\.", "text_tower.embed."),
        (r"^text_encoder\.model\.encoder\.layers\.", "text_tower.layers."),
        (r"^text_encoder\.model\.layer_norm\.", "text_tower.layer_norm."),
        (r"^audio_proj\.", "audio_projection."),
        (r"^text_proj\.", "text_projection."),
    ),
    ignored=(
        r"audio_encoder\.model\.front_end\..*",  # read apart
        r".*\.pos_encoder\.freqs",  # follow from the shape
    ),
)


def load_glap(weights: Path | None) -> PublishedCLAP:
    """Load a checkpoint in the layout of the package glap-model.

    Args:
        weights: the file, or a folder that holds it under its published name; SONAR's vocabulary lies beside it. It is
            not on the hub at a commit that is known here, so None is refused.

    Raises:
        BackendUnavailableError: a file, or the package sentencepiece, is not there.
        CheckpointError: a file is damaged or belongs to another model.
    """
    if weights is None:
        raise BackendUnavailableError(
            f"GLAP is not fetched: give --weights and '{WEIGHTS}' (zenodo.org, record 15493136), with SONAR's "
            f"vocabulary '{VOCABULARY}' beside it."
        )
    path = weights / WEIGHTS if weights.is_dir() else weights
    state = read_checkpoint(path)
    for key in (FILTERS, WINDOW, PATCHES, WORDS):
        if key not in state:
            raise CheckpointError(
                f"'{path.name}' lacks '{key}': choose the checkpoint of GLAP as its authors published it."
            )
    hann = torch.hann_window(len(state[WINDOW]), dtype=torch.float64)
    if float((state[WINDOW].double() - hann).abs().max()) > HANN_TOLERANCE:
        raise CheckpointError(
            f"The STFT of '{path.name}' has a window of its own: choose the published file."
        )
    pieces = SentencePieces(path.parent / VOCABULARY)
    model = build_glap(audio_shape(state, path.name), text_shape(state), pieces, state)
    load_strictly(model, state, KEYS, path.name, rebuilt=("log_logit_scale",))
    return model


def build_glap(
    audio: DashengConfig, text: SonarConfig, pieces: SentencePieces, state: Mapping[str, Tensor]
) -> PublishedCLAP:
    """Build with fresh weights; the caller's random state is left as it was.

    Args:
        audio: shape of the audio encoder.
        text: shape of the text encoder.
        pieces: vocabulary.
        state: of the checkpoint, for its filters and the width of the joint space.
    """
    embed_dim = len(state["text_proj.2.bias"]) if "text_proj.2.bias" in state else 1024
    with torch.random.fork_rng(devices=[]):
        model = PublishedCLAP(
            name=NAME,
            spectral=GRID,
            clip_samples=CLIP_SECONDS * GRID.sample_rate,
            embed_dim=embed_dim,
            encoder=Dasheng(audio),
            audio_projection=_projection(audio.width, embed_dim),
            text_tower=SonarTower(text, pieces),
            text_projection=_projection(text.width, embed_dim),
            mel_filters=state[FILTERS].T,
        )
    with torch.no_grad():
        model.log_logit_scale.fill_(math.log(LOGIT_SCALE))
    return model.eval()


def audio_shape(state: Mapping[str, Tensor], name: str) -> DashengConfig:
    """Shape of the audio encoder, from its weights.

    Args:
        state: of the checkpoint.
        name: of the file, for messages.

    Raises:
        CheckpointError: it has too few blocks.
    """
    depth = _layers(state, r"audio_encoder\.model\.blocks\.(\d+)\.")
    if depth < MAPS:
        raise CheckpointError(
            f"The audio encoder in '{name}' has {depth} blocks, and GLAP's has 12: choose the published file."
        )
    width, _, n_mels, patch = state[PATCHES].shape
    inner = state.get("audio_encoder.model.blocks.0.mlp.fc1.bias")
    places = state.get("audio_encoder.model.time_pos_embed")
    return DashengConfig(
        n_mels=n_mels,
        width=width,
        depth=depth,
        heads=max(width // HEAD_WIDTH, 1),
        inner=4 * width if inner is None else len(inner),
        patch=patch,
        positions=1 if places is None else places.shape[-1],
    )


def text_shape(state: Mapping[str, Tensor]) -> SonarConfig:
    """Shape of the text encoder, from its weights."""
    vocabulary, width = state[WORDS].shape
    inner = state.get("text_encoder.model.encoder.layers.0.ffn.inner_proj.bias")
    return SonarConfig(
        vocabulary=vocabulary,
        width=width,
        layers=_layers(state, r"text_encoder\.model\.encoder\.layers\.(\d+)\."),
        heads=max(width // HEAD_WIDTH, 1),
        inner=8 * width if inner is None else len(inner),
    )


def _layers(state: Mapping[str, Tensor], pattern: str) -> int:
    return len({found[1] for key in state if (found := re.match(pattern, key))})


def _projection(width: int, embed_dim: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, embed_dim), nn.ReLU(), nn.Linear(embed_dim, embed_dim))
