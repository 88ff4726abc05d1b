"""LAION's CLAP (Wu et al. 2023: HTSAT, RoBERTa) from checkpoints in the layout of transformers' ClapModel.

The front end of transformers' feature extractor is NumPy; this one gives the same numbers and lets gradients through.
Sound shorter than the window is tiled to its end (the extractor's "repeat"; its "repeatpad" leaves digital silence after
the last whole copy), and long recordings are covered by windows where the extractor takes a random crop.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lmaczs.clap.convert import KeyMap, load_strictly, read_checkpoint
from lmaczs.clap.download import Published, fetch
from lmaczs.clap.htsat import HTSAT, HTSAT_KEYS, HTSATConfig
from lmaczs.clap.laion_original import REBUILT, is_original, load_original
from lmaczs.clap.laion_projection import LAIONProjection
from lmaczs.clap.published import PublishedCLAP
from lmaczs.clap.text_towers import RobertaTower
from lmaczs.errors import BackendUnavailableError, CheckpointError
from lmaczs.signal.spectral import SpectralConfig
from lmaczs.types import Progress

if TYPE_CHECKING:
    from transformers import ClapConfig, PreTrainedTokenizerBase

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG, FRONT_END, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
# Of each the first that is there; older transformers wrote the files on the left.
NEEDED = (
    ((CONFIG,),),
    ((FRONT_END,), (PROCESSOR,)),
    (("vocab.json", "merges.txt"), ("tokenizer.json",)),
)
FILES = (WEIGHTS, (CONFIG,), (FRONT_END,), ("vocab.json",), ("merges.txt",))
LICENCE = "Apache-2.0"

SOURCES = {
    "laion": Published(
        "laion/clap-htsat-unfused", "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a", LICENCE, FILES
    ),
    "laion-general": Published(
        "laion/larger_clap_general", "ada0c23a36c4e8582805bb38fec3905903f18b41", LICENCE, FILES
    ),
    # Not larger_clap_music: users found that its conversion on the hub gives all sounds nearly the same embedding.
    "laion-music": Published(
        "laion/larger_clap_music_and_speech", "195c3a3e68faebb3e2088b9a79e79b43ddbda76b", LICENCE, FILES
    ),
}

KEYS = KeyMap(
    renamed=(
        (r"^text_model\.", "text_tower.model."),
        (r"^logit_scale_a$", "log_logit_scale"),  # of the logits per audio
        (r"^audio_model\.audio_encoder\.batch_norm\.", "encoder.bn0."),
        (r"^audio_model\.audio_encoder\.", "encoder."),
        (r"^(encoder\..*)\.layernorm_before\.", r"\1.norm1."),
        (r"^(encoder\..*)\.layernorm_after\.", r"\1.norm2."),
        (
            r"^(encoder\..*)\.attention\.self\.relative_position_bias_table$",
            r"\1.attn.relative_position_bias_table",
        ),
        (r"^(encoder\..*)\.attention\.self\.query\.", r"\1.attn.qkv.0."),
        (r"^(encoder\..*)\.attention\.self\.key\.", r"\1.attn.qkv.1."),
        (r"^(encoder\..*)\.attention\.self\.value\.", r"\1.attn.qkv.2."),
        (r"^(encoder\..*)\.attention\.output\.dense\.", r"\1.attn.proj."),
        (r"^(encoder\..*)\.intermediate\.dense\.", r"\1.mlp.fc1."),
        (r"^(encoder\..*)\.output\.dense\.", r"\1.mlp.fc2."),
        *HTSAT_KEYS,
    ),
    ignored=(
        r"logit_scale_t",  # of the logits per text
        r".*\.relative_position_index",  # follows from the window's size
        r"text_model\.embeddings\.(position_ids|token_type_ids)",  # 0, 1, 2, … and zeros
    ),
    joined=r"(encoder\..*\.attn\.qkv)\.([012])(\.(?:weight|bias))",
)


def load_laion(name: str, weights: Path | None = None, progress: Progress | None = None) -> PublishedCLAP:
    """Load a checkpoint in the layout of transformers' ClapModel, or in that of the package laion-clap.

    Args:
        name: key in `SOURCES`.
        weights: a folder with the files of the hub's repository, or the weights' file in such a folder; or a .pt file as
            the package laion-clap reads it, see `lmaczs.clap.laion_original`. None takes them from the hub.
        progress: of the download.

    Raises:
        BackendUnavailableError: a file is not here and cannot be fetched.
        CheckpointError: a file is damaged, belongs to another model, or to one with feature fusion.
    """
    if weights is None:
        files = fetch(SOURCES[name], progress)
        path = next(files[key] for key in WEIGHTS if key in files)
        folder = path.parent
    else:
        folder = weights if weights.is_dir() else weights.parent
        inside = [folder / key for key in WEIGHTS if (folder / key).is_file()]
        path = weights if not weights.is_dir() else (inside or [folder / WEIGHTS[0]])[0]
        if path.suffix == ".pt":
            state = read_checkpoint(path)
            if is_original(state):
                return load_original(name, state, path, SOURCES[name], progress)
            if not (folder / CONFIG).is_file():
                raise CheckpointError(
                    f"'{path.name}' is no checkpoint of the package laion-clap: choose one, such as "
                    "630k-audioset-best.pt, or a folder with the files of the hub's repository."
                )
        for choice in NEEDED:
            if not any(all((folder / needed).is_file() for needed in files) for files in choice):
                lacks = next(needed for needed in choice[0] if not (folder / needed).is_file())
                raise BackendUnavailableError(
                    f"There is no '{lacks}' beside the weights: give the folder with all files of "
                    f"{SOURCES[name].repository}, or leave out --weights to fetch them."
                )
    from transformers import ClapConfig, RobertaTokenizer

    config = ClapConfig.from_dict(_read_json(folder / CONFIG))
    tokenizer = RobertaTokenizer.from_pretrained(folder, local_files_only=True)
    model = build_laion(name, config, _front_end_values(folder), tokenizer)
    load_strictly(model, read_checkpoint(path), KEYS, path.name, REBUILT)
    return model


def load_clap_folder(folder: Path, name: str, source: str) -> PublishedCLAP:
    """Load a ClapModel of one's own, as transformers' save_pretrained writes model and processor.

    Args:
        folder: with all files.
        name: in result files.
        source: what `load_backend` takes.

    Raises:
        BackendUnavailableError: a file is not there.
        CheckpointError: a file is damaged, or the model is of a kind that is not supported.
    """
    model = load_laion("laion", folder)
    model.name, model.source = name, source
    return model


def build_laion(
    name: str, config: "ClapConfig", front_end: dict[str, Any], tokenizer: "PreTrainedTokenizerBase"
) -> PublishedCLAP:
    """Build with fresh weights; the caller's random state is left as it was.

    Args:
        name: key in `SOURCES`.
        config: sizes.
        front_end: values of preprocessor_config.json.
        tokenizer: of the text encoder's vocabulary.

    Raises:
        CheckpointError: the model is of a kind that is not supported.
    """
    spectral, clip_samples, mel_filters = front_end_of(front_end)
    text: Any = config.text_config
    with torch.random.fork_rng(devices=[]):
        encoder = HTSAT(htsat_config(config))
        return PublishedCLAP(
            name=name,
            spectral=spectral,
            clip_samples=clip_samples,
            embed_dim=config.projection_dim,
            encoder=encoder,
            audio_projection=LAIONProjection(encoder.hidden_channels[-1], config.projection_dim),
            text_tower=RobertaTower(text, tokenizer),
            text_projection=LAIONProjection(text.hidden_size, config.projection_dim),
            mel_filters=mel_filters,
        ).eval()


def htsat_config(config: "ClapConfig") -> HTSATConfig:
    """Shape of the audio encoder.

    Raises:
        CheckpointError: it has feature fusion, or layers that `HTSAT` does not have.
    """
    audio: Any = config.audio_config  # transformers declares it as a dictionary, too
    if audio.enable_fusion:
        raise CheckpointError(
            "This CLAP fuses crops of long recordings, and its embeddings depend on random crops: choose a checkpoint "
            "without fusion, such as laion/clap-htsat-unfused."
        )
    patch, stride = (
        value if isinstance(value, int) else value[0] for value in (audio.patch_size, audio.patch_stride)
    )
    expected = {
        "patch_stride": (stride, patch),
        "hidden_act": (audio.hidden_act, "gelu"),
        "projection_hidden_act": (config.projection_hidden_act, "relu"),
        "enable_patch_layer_norm": (audio.enable_patch_layer_norm, True),
        "patch_embed_input_channels": (audio.patch_embed_input_channels, 1),
    }
    for key, (value, known) in expected.items():
        if value != known:
            raise CheckpointError(
                f"This CLAP's config.json has {key} = {value!r}, but only {known!r} is supported: choose one of the "
                "published LAION checkpoints."
            )
    return HTSATConfig(
        n_mels=audio.num_mel_bins,
        image_size=audio.spec_size,
        patch=patch,
        width=audio.patch_embeds_hidden_size,
        depths=tuple(audio.depths),
        heads=tuple(audio.num_attention_heads),
        window=audio.window_size,
        mlp_ratio=audio.mlp_ratio,
        qkv_bias=audio.qkv_bias,
        block_eps=audio.layer_norm_eps,
    )


def front_end_of(values: dict[str, Any]) -> tuple[SpectralConfig, int, Tensor]:
    """The grid, the window's length in samples and the mel filters that preprocessor_config.json asks for.

    The filters are the extractor's Slaney ones, which checkpoints without fusion were trained with.

    Raises:
        CheckpointError: a value is of no use.
    """
    from transformers import ClapFeatureExtractor

    try:
        extractor: Any = ClapFeatureExtractor.from_dict(values)
        spectral = SpectralConfig(
            sample_rate=int(extractor.sampling_rate),
            n_fft=int(extractor.fft_window_size),
            hop_length=int(extractor.hop_length),
            n_mels=int(extractor.feature_size),
            f_min=float(extractor.frequency_min),
            f_max=float(extractor.frequency_max),
        )
        filters = torch.from_numpy(extractor.mel_filters_slaney.T).float()
        return spectral, int(extractor.max_length_s * spectral.sample_rate), filters
    except (TypeError, ValueError) as error:
        raise CheckpointError(
            f"'{FRONT_END}' of this CLAP does not describe a front end: fetch it again."
        ) from error


def _front_end_values(folder: Path) -> dict[str, Any]:
    """Values of the feature extractor, which newer transformers write into the file of the processor.

    Raises:
        CheckpointError: they cannot be read.
    """
    if (folder / FRONT_END).is_file():
        return _read_json(folder / FRONT_END)
    values = _read_json(folder / PROCESSOR).get("feature_extractor")
    if not isinstance(values, dict):
        raise CheckpointError(f"'{PROCESSOR}' of this CLAP does not describe a front end: fetch it again.")
    return values


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"'{path.name}' cannot be read: fetch it again.") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"'{path.name}' does not describe a model: fetch it again.")
    return values
