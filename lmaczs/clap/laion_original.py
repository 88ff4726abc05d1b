"""LAION's CLAP from the checkpoints that its authors published: one .pt file, whose sizes are read off its weights.

`630k-audioset-best.pt`, `music_audioset_epoch_15_esc_90.14.pt` and others; the package laion-clap reads them. The
filters and the Fourier kernels are those that the file holds. Differences from the package, all on purpose: samples are
not rounded to 16 bits, sound shorter than the window is tiled to its end (the package leaves silence after the last
whole copy), and long recordings are covered by windows where it takes a random crop.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lmaczs.clap.convert import KeyMap, honour_stft, load_strictly
from lmaczs.clap.download import Published, fetch
from lmaczs.clap.htsat import HTSAT, HTSAT_KEYS, HTSATConfig
from lmaczs.clap.laion_projection import LAIONProjection
from lmaczs.clap.published import PublishedCLAP
from lmaczs.clap.text_towers import RobertaTower
from lmaczs.errors import CheckpointError
from lmaczs.signal.spectral import SpectralConfig
from lmaczs.types import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VOCABULARY = (("vocab.json",), ("merges.txt",))
KERNELS = (
    "audio_branch.spectrogram_extractor.stft.conv_real.weight",
    "audio_branch.spectrogram_extractor.stft.conv_imag.weight",
)
FILTERS = "audio_branch.logmel_extractor.melW"
# Of every published checkpoint.
GRID = SpectralConfig(sample_rate=48000, n_fft=1024, hop_length=480, n_mels=64, f_min=50.0, f_max=14000.0)
CLIP_SECONDS = 10
HEAD_WIDTH = 64  # channels of an attention head, in every RoBERTa

KEYS = KeyMap(
    renamed=(
        (r"^text_branch\.", "text_tower.model."),
        (r"^logit_scale_a$", "log_logit_scale"),  # of the logits per audio
        (r"^audio_branch\.", "encoder."),
        (r"^(audio|text)_projection\.0\.", r"\1_projection.linear1."),
        (r"^(audio|text)_projection\.2\.", r"\1_projection.linear2."),
        *HTSAT_KEYS,
    ),
    ignored=(
        r"logit_scale_t",  # of the logits per text
        r"(audio|text)_transform\..*",  # of an earlier way to train
        r"audio_branch\.(spectrogram_extractor|logmel_extractor)\..*",  # read apart
        r"audio_branch\.(tscam_conv|head)\..*",  # classes of AudioSet
        r".*\.relative_position_index",  # follows from the window's size
        r".*\.attn_mask",  # follows from the image's size
        r".*\.embeddings\.(position_ids|token_type_ids)",  # 0, 1, 2, … and zeros
    ),
)
REBUILT = tuple(f"text_tower.model.embeddings.{name}" for name in ("position_ids", "token_type_ids"))


def is_original(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint has the layout of the package laion-clap."""
    return any(re.match(r"(module\.)?audio_branch\.", name) for name in state)


def load_original(
    name: str, state: Mapping[str, Tensor], path: Path, source: Published, progress: Progress | None = None
) -> PublishedCLAP:
    """Load a checkpoint in the layout of the package laion-clap.

    Args:
        name: of the backend.
        state: as read.
        path: of the file; a vocabulary (vocab.json, merges.txt) beside it is used.
        source: on the hub, for the vocabulary where there is none beside the file.
        progress: of the download.

    Raises:
        BackendUnavailableError: the vocabulary is not here and cannot be fetched.
        CheckpointError: the file is of a model with feature fusion, or not a HTSAT with a RoBERTa.
    """
    state = {key.removeprefix("module."): value for key, value in state.items()}
    if any("fusion" in key or "mel_conv2d" in key for key in state):
        raise CheckpointError(
            f"'{path.name}' fuses crops of long recordings, and its embeddings depend on random crops: choose a "
            "checkpoint without fusion, such as 630k-audioset-best.pt."
        )
    shape, text = audio_shape(state, path.name), text_shape(state, path.name)
    spectral = honour_stft(GRID, state[KERNELS[0]], state[KERNELS[1]], path.name)
    tokenizer = _tokenizer(path.parent, source, progress)
    with torch.random.fork_rng(devices=[]):
        encoder, embed_dim = HTSAT(shape), len(state["audio_projection.2.bias"])
        model = PublishedCLAP(
            name=name,
            spectral=spectral,
            clip_samples=CLIP_SECONDS * spectral.sample_rate,
            embed_dim=embed_dim,
            encoder=encoder,
            audio_projection=LAIONProjection(encoder.hidden_channels[-1], embed_dim),
            text_tower=RobertaTower(text, tokenizer),
            text_projection=LAIONProjection(text.hidden_size, embed_dim),
            mel_filters=state[FILTERS].T.float(),
        ).eval()
    load_strictly(model, state, KEYS, path.name, REBUILT)
    return model


def audio_shape(state: Mapping[str, Tensor], name: str) -> HTSATConfig:
    """Shape of the audio encoder, from its weights; the published ones are tiny, base and large.

    Args:
        state: of the checkpoint, without "module.".
        name: of the file, for messages.

    Raises:
        CheckpointError: it is no HTSAT.
    """
    needed = ("audio_branch.patch_embed.proj.weight", "audio_branch.bn0.weight", FILTERS, *KERNELS)
    for key in (*needed, "audio_projection.2.bias"):
        if key not in state:
            raise CheckpointError(
                f"'{name}' lacks '{key}': choose a checkpoint of LAION's CLAP with a HTSAT, such as "
                "630k-audioset-best.pt."
            )
    blocks: dict[int, int] = {}
    for key in state:
        if found := re.match(r"audio_branch\.layers\.(\d+)\.blocks\.(\d+)\.", key):
            stage, block = int(found[1]), int(found[2])
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
    tables = [
        state[f"audio_branch.layers.{stage}.blocks.0.attn.relative_position_bias_table"]
        for stage in sorted(blocks)
    ]
    patches = state["audio_branch.patch_embed.proj.weight"]
    # A table has a row for each distance within a window, both ways and in both directions.
    window = (round(len(tables[0]) ** 0.5) + 1) // 2
    return HTSATConfig(
        n_mels=len(state["audio_branch.bn0.weight"]),
        patch=patches.shape[-1],
        width=len(patches),
        depths=tuple(blocks[stage] for stage in sorted(blocks)),
        heads=tuple(table.shape[1] for table in tables),
        window=window,
    )


def text_shape(state: Mapping[str, Tensor], name: str) -> Any:
    """Shape of the text encoder, a ClapTextConfig, from its weights.

    Raises:
        CheckpointError: it is no RoBERTa.
    """
    from transformers import ClapTextConfig

    words = state.get("text_branch.embeddings.word_embeddings.weight")
    if words is None:
        raise CheckpointError(
            f"'{name}' has no RoBERTa as its text encoder: choose one of the published checkpoints of LAION's CLAP."
        )
    layers = {key.split(".")[3] for key in state if key.startswith("text_branch.encoder.layer.")}
    return ClapTextConfig(
        vocab_size=len(words),
        hidden_size=words.shape[1],
        num_hidden_layers=len(layers),
        num_attention_heads=max(words.shape[1] // HEAD_WIDTH, 1),
        intermediate_size=len(state["text_branch.encoder.layer.0.intermediate.dense.bias"]),
        max_position_embeddings=len(state["text_branch.embeddings.position_embeddings.weight"]),
        type_vocab_size=len(state["text_branch.embeddings.token_type_embeddings.weight"]),
    )


def _tokenizer(folder: Path, source: Published, progress: Progress | None) -> "PreTrainedTokenizerBase":
    from transformers import RobertaTokenizer

    if not all((folder / group[0]).is_file() for group in VOCABULARY):
        vocabulary = Published(source.repository, source.commit, source.licence, VOCABULARY)
        folder = fetch(vocabulary, progress)[VOCABULARY[0][0]].parent
    tokenizer: PreTrainedTokenizerBase = RobertaTokenizer.from_pretrained(folder, local_files_only=True)
    return tokenizer
