"""GLAP in small: the reference code of the packages glap-model, dasheng and torchaudio, with random weights."""

import importlib
import sys
import types
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

import lmaczs  # noqa: F401  before transformers: it keeps a torchaudio that does not load out of the way

APART = Path(sys.prefix, "apart")
WIDTH, DEPTH, WORDS_WIDTH = 128, 5, 64
TEXT = "this is the sound of a dog and of rain, a siren wails and the wind blows over the sea. "


def package(name: str, path: Path) -> types.ModuleType:
    """A package whose own `__init__` is passed by."""
    module = types.ModuleType(name)
    module.__path__ = [str(path)]
    sys.modules[name] = module
    return module


@cache
def modules() -> tuple[types.ModuleType, types.ModuleType, types.ModuleType]:
    """glap_model's model, its Dasheng and its SONAR.

    torchaudio's transforms are Python, and only its package looks for compiled code. What has been put in the place of
    packages is taken away again.
    """
    site = Path(torch.__file__).parents[1] / "torchaudio"
    pytest.importorskip(
        "sentencepiece", reason="parity packages are missing: see .ci/parity-requirements.txt"
    )
    if not (APART / "glap_model").is_dir() or not site.is_dir():
        pytest.skip("parity packages are missing: see .ci/parity-apart-requirements.txt")
    before = dict(sys.modules)
    sys.path.append(str(APART))
    try:
        package("torchaudio", site)
        compiled = types.ModuleType("torchaudio._extension")
        for name in ("_IS_RIR_AVAILABLE", "_IS_ALIGN_AVAILABLE", "_IS_TORCHAUDIO_EXT_AVAILABLE"):
            setattr(compiled, name, False)
        compiled.fail_if_no_align = lambda function: function
        sys.modules["torchaudio._extension"] = compiled
        root = APART / "glap_model"
        package("glap_model", root)
        models = package("glap_model.models", root / "models")
        models.audioencoders = package("glap_model.models.audioencoders", root / "models/audioencoders")
        models.textencoders = package("glap_model.models.textencoders", root / "models/textencoders")
        config = types.ModuleType("glap_model.config")
        config.GlapTrainConfig = dict
        sys.modules["glap_model.config"] = config
        audio = importlib.import_module("glap_model.models.audioencoders.dasheng_audioencoder")
        text = importlib.import_module("glap_model.models.textencoders.sonar_text_encoder")
        models.audioencoders.DashengWrapper = audio.DashengWrapper
        models.textencoders.TextEncoderSonarWrapper = text.TextEncoderSonarWrapper
        return importlib.import_module("glap_model.models.glap"), audio, text
    finally:
        sys.path.remove(str(APART))
        for name in [name for name in sys.modules if name not in before]:
            if name.partition(".")[0] in ("torchaudio", "glap_model"):
                del sys.modules[name]
        if "torchaudio" in before:
            sys.modules["torchaudio"] = before["torchaudio"]


def reference_dasheng() -> nn.Module:
    """Dasheng base as GLAP runs it, with random weights: waveform (1, samples) -> (1, width)."""
    _, audio, _ = modules()
    dasheng, audio.dasheng_base = audio.dasheng_base, sys.modules["dasheng.pretrained.pretrained"].Dasheng
    try:
        return audio.DashengWrapper(embed_dim=768, depth=12, num_heads=12).eval().requires_grad_(False)
    finally:
        audio.dasheng_base = dasheng


def write_vocabulary(path: Path) -> None:
    """A SentencePiece vocabulary of a few pieces, with the marks of SONAR's."""
    import sentencepiece

    lines = [TEXT, TEXT.title(), "0 1 2 3 4 5 6 7 8 9 ! ?", "abcdefghijklmnopqrstuvwxyz"]
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines), model_writer=file, vocab_size=90, model_type="bpe", minloglevel=2
        )


def reference_glap(vocabulary: Path) -> nn.Module:
    """The model class of the package with random weights that make every layer matter.

    Args:
        vocabulary: SentencePiece model.
    """
    glap, audio, text = modules()
    pretrained = sys.modules.get("dasheng.pretrained.pretrained")
    assert pretrained is not None
    shape = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": WIDTH // 64}
    whole = {
        "vocab_size": 256206,
        "model_dim": WORDS_WIDTH,
        "num_layers": 2,
        "num_heads": 1,
        "ffn_inner_dim": 96,
    }
    dasheng, sonar = audio.dasheng_base, text.SonarTextEncoder
    audio.dasheng_base = lambda **options: pretrained.Dasheng(**shape)
    text.SonarTextEncoder = lambda **options: sonar(**whole)
    torch.manual_seed(0)
    try:
        model = glap.GLAP(
            audio_encoder_args={}, text_encoder_args={"tokenizer_path": str(vocabulary)}, embed_size=48
        )
    finally:
        audio.dasheng_base, text.SonarTextEncoder = dasheng, sonar
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        norm = model.audio_encoder.model.init_bn[1]
        norm.running_mean.copy_(-30 + torch.randn(64, generator=generator))
        norm.running_var.copy_(200 * (torch.rand(64, generator=generator) + 0.5))
    return model.eval().requires_grad_(False)
