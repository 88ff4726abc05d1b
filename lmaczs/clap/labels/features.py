"""transformers' feature extractors as differentiable front ends: waveform -> what the model takes.

Each gives what the extractor gives, to float32 rounding (tests compare them), for a batch of waveforms of one length.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Kaldi's filterbank features: 25 ms frames, 10 ms apart, and no edges.
FRAME, HOP, N_FFT = 400, 160, 512
PRE_EMPHASIS, FLOOR = 0.97, 1.192092955078125e-07


class Normalised(nn.Module):
    """Wav2Vec2FeatureExtractor: zero mean and unit variance over the recording."""

    def __init__(self, wanted: bool) -> None:
        """Say whether the extractor normalises (`do_normalize`)."""
        super().__init__()
        self.wanted = wanted

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> the same shape."""
        if not self.wanted:
            return waveform
        centred = waveform - waveform.mean(dim=1, keepdim=True)
        return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-7).sqrt()


class Fbank(nn.Module):
    """Kaldi's log mel filterbank features, as `transformers.audio_utils.spectrogram` computes them."""

    window: Tensor
    mel_filters: Tensor

    def __init__(self, mel_filters: Tensor, window: Tensor, scale: float = 1.0) -> None:
        """Keep what the extractor was built with.

        Args:
            mel_filters: (N_FFT // 2 + 1, bands).
            window: (FRAME,).
            scale: of the waveform; 2**15 for 16-bit numbers.
        """
        super().__init__()
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("mel_filters", mel_filters.float(), persistent=False)
        self.scale = scale

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames, bands)."""
        frames = (self.scale * waveform).unfold(1, FRAME, HOP)
        frames = frames - frames.mean(dim=2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=2)
        spectrum = torch.fft.rfft((frames - PRE_EMPHASIS * before) * self.window, n=N_FFT)
        power = spectrum.real.square() + spectrum.imag.square()
        log_power: Tensor = (power @ self.mel_filters).clamp_min(FLOOR).log()
        return log_power


class ASTFeatures(nn.Module):
    """ASTFeatureExtractor: filterbank features, padded with zeros or cut to a fixed length, normalised."""

    def __init__(self, fbank: Fbank, max_length: int, mean: float, std: float, normalise: bool) -> None:
        """Keep the extractor's settings."""
        super().__init__()
        self.fbank, self.max_length = fbank, max_length
        self.mean, self.std, self.normalise = mean, std, normalise

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, max_length, bands)."""
        features: Tensor = self.fbank(waveform)[:, : self.max_length]
        features = F.pad(features, (0, 0, 0, self.max_length - features.shape[1]))
        return (features - self.mean) / (2 * self.std) if self.normalise else features


class SeamlessFeatures(nn.Module):
    """SeamlessM4TFeatureExtractor (wav2vec2-bert): filterbank features, each band normalised, two frames in one."""

    def __init__(self, fbank: Fbank, stride: int) -> None:
        """Keep the extractor's settings."""
        super().__init__()
        self.fbank, self.stride = fbank, stride

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames // stride, stride * bands)."""
        features: Tensor = self.fbank(waveform)
        features = (features - features.mean(dim=1, keepdim=True)) / (
            features.var(dim=1, keepdim=True) + 1e-7
        ).sqrt()
        # The extractor fills the last group up and masks it.
        whole = features.shape[1] // self.stride
        return features[:, : whole * self.stride].reshape(len(features), whole, -1)


class WhisperFeatures(nn.Module):
    """WhisperFeatureExtractor: log mel spectrogram of a fixed length, no more than 80 dB below its maximum."""

    mel_filters: Tensor

    def __init__(self, mel_filters: Tensor, n_fft: int, hop_length: int, samples: int) -> None:
        """Keep the extractor's settings.

        Args:
            mel_filters: (n_fft // 2 + 1, bands).
            n_fft: samples of a window.
            hop_length: samples between frames.
            samples: that every recording is padded or cut to.
        """
        super().__init__()
        self.register_buffer("mel_filters", mel_filters.float(), persistent=False)
        self.n_fft, self.hop_length, self.samples = n_fft, hop_length, samples

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, bands, frames)."""
        padded = F.pad(waveform, (0, self.samples - waveform.shape[1]))
        window = torch.hann_window(self.n_fft, device=waveform.device)
        spectrum = torch.stft(padded, self.n_fft, self.hop_length, window=window, return_complex=True)
        power = (spectrum.real.square() + spectrum.imag.square())[..., :-1]
        level = (self.mel_filters.T @ power).clamp_min(1e-10).log10()
        return (torch.maximum(level, level.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4
