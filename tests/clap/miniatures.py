"""Published CLAPs in small: vocabularies of a few letters, models of a few channels, and the reference code itself."""

import importlib
import importlib.util
import json
import string
import sys
import types
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

import lmaczs  # noqa: F401  before transformers: it keeps a torchaudio that does not load out of the way
from lmaczs.clap.htsat import HTSATConfig
from lmaczs.clap.laion import build_laion
from lmaczs.clap.msclap import VERSION_2022, VERSION_2023, build_msclap
from lmaczs.signal.spectral import SpectralConfig

WORDS = ["this", "is", "the", "sound", "of", "a", "dog", "rain", "and"]
BERT = {
    "vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
}  # fmt: skip
GPT2 = {"vocab_size": 257, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 96}
ROBERTA = {
    "vocab_size": 265, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48,
    "max_position_embeddings": 98,
}  # fmt: skip
SMALL_HTSAT = HTSATConfig(
    n_mels=32, image_size=128, width=8, depths=(2, 2, 2, 2), heads=(1, 2, 2, 4), window=4
)
SMALL_GRID = SpectralConfig(sample_rate=44100, n_mels=32, f_min=50.0, f_max=14000.0)
SMALL_2022 = replace(
    VERSION_2022, clip_seconds=1.0, audio=(4, 6, 8, 12, 16), text=BERT, embed_dim=16, spectral=SMALL_GRID
)
SMALL_2023 = replace(
    VERSION_2023, clip_seconds=1.0, audio=SMALL_HTSAT, text=GPT2, embed_dim=16, spectral=SMALL_GRID
)
LAION_FRONT_END = {
    "feature_extractor_type": "ClapFeatureExtractor", "feature_size": 64, "sampling_rate": 48000, "hop_length": 480,
    "fft_window_size": 1024, "frequency_min": 50, "frequency_max": 14000, "max_length_s": 10,
    "truncation": "rand_trunc", "padding": "repeatpad", "top_db": None,
}  # fmt: skip
SMALL_FRONT_END = LAION_FRONT_END | {"feature_size": 32, "sampling_rate": 16000, "hop_length": 160, "max_length_s": 1,
                                     "frequency_max": 7000}  # fmt: skip


def bytes_of_gpt2() -> list[str]:
    """The letters that stand for the 256 bytes, in the order of the published vocabulary: '!' comes first."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return [chr(byte) for byte in own] + [chr(256 + index) for index in range(len(others))]


def write_vocabulary(folder: Path, kind: str) -> None:
    """Files of a tokenizer under their published names: "bert", "gpt2" or "roberta"."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "bert":
        letters = [*string.ascii_lowercase, *string.punctuation[:4]]
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
        tokens += [f"##{letter}" for letter in string.ascii_lowercase]
        (folder / "vocab.txt").write_text("\n".join(tokens[: BERT["vocab_size"]]) + "\n")
        return
    tokens = bytes_of_gpt2()
    tokens = tokens + ["<|endoftext|>"] if kind == "gpt2" else ["<s>", "<pad>", "</s>", "<unk>", *tokens]
    merges = [("Ġ", "o"), ("o", "f"), ("Ġ", "a")]
    if kind == "roberta":
        tokens += ["Ġo", "of", "Ġa", "<mask>"]
    else:
        merges = []
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))


def read_vocabulary(folder: Path, kind: str):
    """The tokenizer of `write_vocabulary`."""
    from transformers import BertTokenizer, GPT2Tokenizer, RobertaTokenizer

    write_vocabulary(folder, kind)
    return {"bert": BertTokenizer, "gpt2": GPT2Tokenizer, "roberta": RobertaTokenizer}[kind].from_pretrained(
        folder
    )


def enliven(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights that make every layer matter, also those that are zero or one when fresh."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "logit_scale" in name:
                parameter.fill_(2.5)
            elif "relative_position_bias" in name or parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
            elif not name.endswith(("melW", "conv_real.weight", "conv_imag.weight")):
                # Under He's deviation a signal survives many layers; fresh transformers hardly tell inputs apart.
                gain = 2.0 if parameter.ndim == 4 else 1.5
                parameter.mul_((gain / parameter[0].numel()) ** 0.5 / parameter.std())
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                decibels = name.endswith(("bn0", "batch_norm"))  # the first layer, which sees a log-mel map
                size = module.num_features
                mean, variance = (-30.0, 200.0) if decibels else (0.0, 1.0)
                module.running_mean.copy_(mean + 0.1 * torch.randn(size, generator=generator))
                module.running_var.copy_(variance * (torch.rand(size, generator=generator) + 0.5))
    return model.eval()


@cache
def _msclap_models() -> types.ModuleType:
    """msclap.models.clap; the package's `__init__`, which wants torchaudio, is passed by."""
    pytest.importorskip("torchlibrosa", reason="parity packages are missing: see .ci/parity-requirements.txt")
    spec = importlib.util.find_spec("msclap")
    if spec is None:
        pytest.skip("parity packages are missing: see .ci/parity-requirements.txt")
    package = types.ModuleType("msclap")
    package.__path__ = [str(Path(spec.origin).parent)]
    sys.modules["msclap"] = package
    return importlib.import_module("msclap.models.clap")


def reference_msclap(version: str, text: dict, small: bool = False) -> nn.Module:
    """The model class of the package msclap with random weights.

    Args:
        version: "2022" or "2023".
        text: sizes of the text encoder.
        small: with the HTSAT of `SMALL_HTSAT`; the CNN14 has one size only.
    """
    module = _msclap_models()
    from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

    bert = version == "2022"
    build = (lambda: BertModel(BertConfig(**text))) if bert else (lambda: GPT2Model(GPT2Config(**text)))
    module.AutoModel = types.SimpleNamespace(from_pretrained=lambda name: build())
    torch.manual_seed(0)
    model = module.CLAP(
        audioenc_name="Cnn14" if bert else "HTSAT", sample_rate=44100, window_size=1024, hop_size=320,
        mel_bins=64, fmin=50, fmax=14000, classes_num=527, d_proj=16 if small else 1024,
        out_emb=2048 if bert else SMALL_HTSAT.channels[-1] if small else 768,
        text_model="bert-base-uncased" if bert else "gpt2", transformer_embed_dim=32,
    )  # fmt: skip
    if small:
        settings = types.SimpleNamespace(
            window_size=1024, hop_size=320, sample_rate=32000, mel_bins=32, fmin=50, fmax=14000, enable_tscam=True,
            loss_type="clip_bce", htsat_attn_heatmap=False, enable_repeat_mode=False,
        )  # fmt: skip
        model.audio_encoder.base.htsat = importlib.import_module("msclap.models.htsat").HTSAT_Swin_Transformer(
            spec_size=128, embed_dim=8, depths=[2, 2, 2, 2], num_heads=[1, 2, 2, 4], window_size=4, num_classes=5,
            config=settings,
        )  # fmt: skip
    return enliven(model)


def published_layout(model: nn.Module) -> dict:
    """A reference model's state as it lies in the published files, which older libraries wrote."""
    state = model.state_dict()
    base = "caption_encoder.base"
    if hasattr(model.caption_encoder.base, "h"):
        positions = model.caption_encoder.base.config.n_positions
        for layer in range(len(model.caption_encoder.base.h)):
            causal = torch.ones(1, 1, positions, positions, dtype=torch.uint8).tril()
            state[f"{base}.h.{layer}.attn.bias"] = causal
            state[f"{base}.h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    else:
        positions = model.caption_encoder.base.config.max_position_embeddings
        state[f"{base}.embeddings.position_ids"] = torch.arange(positions)[None]
    return {"model": state, "epoch": 7}


def clap_config(small: bool = True):
    """transformers' ClapConfig with a small text encoder, and HTSAT-tiny or the small one."""
    from transformers import ClapConfig

    audio = {
        "num_mel_bins": 32, "spec_size": 128, "patch_embeds_hidden_size": 8, "depths": [2, 2, 2, 2],
        "num_attention_heads": [1, 2, 2, 4], "window_size": 4, "hidden_size": 64,
    }  # fmt: skip
    size = 16 if small else 512
    return ClapConfig(text_config=ROBERTA, audio_config=audio if small else {}, projection_dim=size)


def small_backend(kind: str, folder: Path):
    """A published CLAP in small with seeded random weights: "msclap-2022", "msclap-2023" or "laion"."""
    torch.manual_seed(0)
    if kind == "laion":
        tokenizer = read_vocabulary(folder, "roberta")
        model = build_laion("laion", clap_config(), SMALL_FRONT_END, tokenizer)
    elif kind == "msclap-2022":
        model = build_msclap(SMALL_2022, read_vocabulary(folder, "bert"))
    else:
        model = build_msclap(SMALL_2023, read_vocabulary(folder, "gpt2"))
    return enliven(model).requires_grad_(False)


def recording(seconds: float, sample_rate: int, channels: int = 1, seed: int = 0) -> torch.Tensor:
    """Noise that swells, and a tone that sets in: (channels, samples), of moderate level."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(round(seconds * sample_rate)) / sample_rate
    noise = torch.randn(channels, len(time), generator=generator) * (0.02 + 0.1 * time / seconds)
    pitch = torch.linspace(500, 3000, channels)[:, None]
    return noise + 0.3 * torch.sin(2 * torch.pi * pitch * time) * (time > seconds / 3)


@cache
def _laion_models() -> types.ModuleType:
    """laion_clap.clap_module.model; what the package wants besides, and never uses here, is passed by."""
    pytest.importorskip("torchlibrosa", reason="parity packages are missing: see .ci/parity-requirements.txt")
    folder = Path(sys.prefix, "apart", "laion_clap")
    if not folder.is_dir():
        pytest.skip("parity packages are missing: see .ci/parity-apart-requirements.txt")
    import transformers  # noqa: F401  it looks for torchvision

    for name, path in (("laion_clap", folder), ("laion_clap.clap_module", folder / "clap_module")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    missing = ("h5py", "torchvision", "torchvision.ops", "torchvision.ops.misc")
    stubs = {name: types.ModuleType(name) for name in missing if name not in sys.modules}
    sys.modules.update(stubs)
    sys.modules["torchvision.ops.misc"].FrozenBatchNorm2d = nn.BatchNorm2d
    try:
        return importlib.import_module("laion_clap.clap_module.model")
    finally:
        for name in stubs:
            del sys.modules[name]


def reference_laion(text: dict) -> nn.Module:
    """The model class of the package laion-clap at its full audio size, with random weights.

    Args:
        text: arguments of RobertaConfig; the width is 768 in the package.
    """
    module = _laion_models()
    from transformers import RobertaConfig, RobertaModel

    build = types.SimpleNamespace(from_pretrained=lambda name: RobertaModel(RobertaConfig(**text)))
    before, module.RobertaModel = module.RobertaModel, build
    torch.manual_seed(0)
    try:
        model = module.CLAP(
            embed_dim=768,
            audio_cfg={
                "audio_length": 1024, "clip_samples": 480000, "mel_bins": 64, "sample_rate": 48000,
                "window_size": 1024, "hop_size": 480, "fmin": 50, "fmax": 14000, "class_num": 5,
                "model_type": "HTSAT", "model_name": "tiny",
            },
            text_cfg={
                "context_length": 77, "vocab_size": 10, "width": 768, "heads": 2, "layers": 2, "model_type": "roberta",
            },
        )  # fmt: skip
    finally:
        module.RobertaModel = before
    return enliven(model)
