"""Microsoft's CLAP of 2022 (CNN14, BERT; the model of the LMAC-ZS paper) and of 2023 (HTSAT, GPT-2).

Elizalde et al. 2023 and 2024; checkpoints and reference code: the package msclap. Sound that is shorter than the window
is tiled as there. Differences, all on purpose: channels are averaged where the reference puts them end to end, and long
recordings are covered by windows where it takes a random crop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lmaczs.clap.cnn14 import CNN14, Projection
from lmaczs.clap.convert import KeyMap, honour_stft, load_strictly, read_checkpoint
from lmaczs.clap.download import Published, fetch
from lmaczs.clap.htsat import HTSAT, HTSAT_KEYS, HTSATConfig
from lmaczs.clap.published import PublishedCLAP
from lmaczs.clap.text_towers import BertTower, GPT2Tower
from lmaczs.errors import CheckpointError
from lmaczs.signal.spectral import SpectralConfig, mel_filterbank
from lmaczs.types import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COMMIT = "c47d441165daa21986ead0850660917636a81775"
LICENCE = "MS-PL"
SAMPLE_RATE = 44100
KERNELS = ("stft.conv_real.weight", "stft.conv_imag.weight")

COMMON_KEYS = (
    (r"^module\.", ""),
    (r"^audio_encoder\.projection\.", "audio_projection."),
    (r"^caption_encoder\.base\.", "text_tower.model."),
    (r"^caption_encoder\.projection\.", "text_projection."),
    (r"^logit_scale$", "log_logit_scale"),
)
FRONT_END = (
    r"(module\.)?audio_encoder\.base\.(htsat\.)?(spectrogram_extractor|logmel_extractor)\..*"  # read apart
)


@dataclass(frozen=True)
class MSCLAPVersion:
    """What tells the versions apart.

    Attributes:
        name: key in `lmaczs.clap.BACKENDS`.
        weights: the checkpoint on the hub.
        vocabulary: the tokenizer's files on the hub.
        clip_seconds: window that the encoder sees, s.
        spectral: the front end that the published checkpoint holds.
        encoder_prefix: of the encoder's keys in the checkpoint.
        ignored: patterns of keys that are known and not needed.
        audio: widths of a CNN14, or the shape of an HTSAT.
        text: arguments of BertConfig or GPT2Config; empty is the published size.
        embed_dim: width of the joint space.
    """

    name: str
    weights: Published
    vocabulary: Published
    clip_seconds: float
    spectral: SpectralConfig
    encoder_prefix: str
    ignored: tuple[str, ...]
    audio: tuple[int, ...] | HTSATConfig
    text: Mapping[str, Any] = field(default_factory=dict)
    embed_dim: int = 1024

    @property
    def keys(self) -> KeyMap:
        """How the checkpoint's keys become ours."""
        renamed = (*COMMON_KEYS, (rf"^{self.encoder_prefix}", "encoder."), *HTSAT_KEYS)
        return KeyMap(renamed, (FRONT_END, *self.ignored))


VERSION_2022 = MSCLAPVersion(
    name="msclap-2022",
    weights=Published("microsoft/msclap", COMMIT, LICENCE, (("CLAP_weights_2022.pth",),)),
    vocabulary=Published(
        "google-bert/bert-base-uncased",
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        "Apache-2.0",
        (("vocab.txt",),),
    ),
    clip_seconds=5.0,
    spectral=SpectralConfig(sample_rate=SAMPLE_RATE, f_min=50.0, f_max=14000.0),
    encoder_prefix=r"audio_encoder\.base\.",
    ignored=(
        r".*\.fc_audioset\..*",  # classes of AudioSet
        r".*\.embeddings\.position_ids",  # 0, 1, 2, …; older transformers stored it
        r".*\.base\.pooler\..*",  # BERT's; CLAP takes the unpooled state
    ),
    audio=(64, 128, 256, 512, 1024, 2048),
)
# Its front end was designed for 32 kHz (50 Hz to 14 kHz) and is fed with 44.1 kHz: all its frequencies are higher than
# their names. The stored filters are what counts; the edges here are the true ones.
VERSION_2023 = MSCLAPVersion(
    name="msclap-2023",
    weights=Published("microsoft/msclap", COMMIT, LICENCE, (("CLAP_weights_2023.pth",),)),
    vocabulary=Published(
        "openai-community/gpt2",
        "607a30d783dfa663caf39e06633721c8d4cfcd7e",
        "MIT",
        (("vocab.json",), ("merges.txt",)),
    ),
    clip_seconds=7.0,
    spectral=SpectralConfig(
        sample_rate=SAMPLE_RATE, f_min=50.0 * 44100 / 32000, f_max=14000.0 * 44100 / 32000
    ),
    encoder_prefix=r"audio_encoder\.base\.htsat\.",
    ignored=(
        r".*\.htsat\.(tscam_conv|head)\..*",  # classes of AudioSet
        r".*\.relative_position_index",  # follows from the window's size
        r".*\.attn_mask",  # follows from the image's size
        r".*\.base\.h\.\d+\.attn\.(bias|masked_bias)",  # GPT-2's causal masks; older transformers stored them
    ),
    audio=HTSATConfig(),
)


def load_msclap(
    version: MSCLAPVersion, weights: Path | None = None, progress: Progress | None = None
) -> PublishedCLAP:
    """Load a checkpoint in the layout of the package msclap.

    Args:
        version: which of the two.
        weights: the .pth file, or a folder that holds it under its published name; a vocabulary beside it is used.
            None takes both from the hub.
        progress: of the download.

    Raises:
        BackendUnavailableError: a file is not here and cannot be fetched.
        CheckpointError: a file is damaged or belongs to another model.
    """
    file_name = version.weights.files[0][0]
    if weights is None:
        path = fetch(version.weights, progress)[file_name]
    else:
        path = weights / file_name if weights.is_dir() else weights
    state = read_checkpoint(path)
    tokenizer = load_tokenizer(version, None if weights is None else path.parent, progress)
    front = {name.split("_extractor.")[-1]: value for name, value in state.items() if "_extractor." in name}
    if missing := [name for name in (*KERNELS, "melW") if name not in front]:
        raise CheckpointError(
            f"'{path.name}' lacks the front end ('{missing[0]}') that a checkpoint of {version.name} holds: choose "
            "the published file, or leave out --weights to fetch it."
        )
    spectral = honour_stft(version.spectral, front[KERNELS[0]], front[KERNELS[1]], path.name)
    model = build_msclap(version, tokenizer, spectral, front["melW"].T)
    load_strictly(model, state, version.keys, path.name)
    return model


def build_msclap(
    version: MSCLAPVersion,
    tokenizer: "PreTrainedTokenizerBase",
    spectral: SpectralConfig | None = None,
    mel_filters: Tensor | None = None,
) -> PublishedCLAP:
    """Build with fresh weights; the caller's random state is left as it was.

    Args:
        version: with its sizes.
        tokenizer: of the text encoder's vocabulary.
        spectral: grid of the checkpoint; None is the version's.
        mel_filters: of the checkpoint; None computes some with the version's edges.
    """
    spectral = spectral or version.spectral
    with torch.random.fork_rng(devices=[]):
        if isinstance(version.audio, HTSATConfig):
            encoder: CNN14 | HTSAT = HTSAT(version.audio)
            tower: BertTower | GPT2Tower = GPT2Tower(version.text, tokenizer)
        else:
            encoder = CNN14(version.audio, spectral.n_mels, embed_width=version.audio[-1])
            tower = BertTower(version.text, tokenizer)
        model = PublishedCLAP(
            name=version.name,
            spectral=spectral,
            clip_samples=round(version.clip_seconds * spectral.sample_rate),
            embed_dim=version.embed_dim,
            encoder=encoder,
            audio_projection=Projection(encoder.hidden_channels[-1], version.embed_dim),
            text_tower=tower,
            text_projection=Projection(tower.width, version.embed_dim),
            mel_filters=mel_filterbank(spectral) if mel_filters is None else mel_filters,
        )
    return model.eval()


def load_tokenizer(
    version: MSCLAPVersion, folder: Path | None, progress: Progress | None
) -> "PreTrainedTokenizerBase":
    """The tokenizer whose vocabulary lies in a folder, or else on the hub."""
    from transformers import BertTokenizer, GPT2Tokenizer

    names = [group[0] for group in version.vocabulary.files]
    if folder is None or not all((folder / name).is_file() for name in names):
        folder = fetch(version.vocabulary, progress)[names[0]].parent
    kind = GPT2Tokenizer if isinstance(version.audio, HTSATConfig) else BertTokenizer
    tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(folder, local_files_only=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
