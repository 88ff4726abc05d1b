"""Perception Encoder Audio (Meta, 2025) and its frame-level form: "hf:FOLDER" or "hf:facebook/pe-a-frame-base@COMMIT".

The networks are those of transformers. Its audio encoder reads waveforms through the encoder of a codec (DAC), and runs
that without gradients; here they flow. The model was trained with a sigmoid for each pair of sound and sentence, so its
similarity is a logit: scale x dot product + bias.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.front_end_backend import FrontEndBackend
from lmaczs.clap.labels.folders import CONFIG, read_json
from lmaczs.clap.labels.front_ends import Waveform, waveform_grid
from lmaczs.clap.labels.layers import LAYERS, MapLayer
from lmaczs.clap.pretrained import open_pretrained
from lmaczs.clap.text_towers import ModernBertTower
from lmaczs.errors import CheckpointError
from lmaczs.types import AudioState

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

WHOLE, FRAMES = "PeAudioModel", "PeAudioFrameLevelModel"
CLIP_SECONDS = 10.0


class PEAudio(FrontEndBackend):
    """A Perception Encoder for sound and text.

    Embeddings carry the logit's scale and bias: a sound's has a 1 at its end, a sentence's is multiplied by the scale and
    has the bias there. The frame-level form embeds parts of 40 ms; a recording is the mean of them.

    Attributes:
        model: of transformers, with an encoder that gradients flow through; without its text encoder.
        text_tower: its text encoder.
        frame_s: of one embedding of the frame-level form, s; else None.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: "PreTrainedTokenizerBase",
        sample_rate: int,
        hop: int,
        name: str,
        source: str = "",
    ) -> None:
        """Put the parts together.

        Args:
            model: a PeAudioModel or PeAudioFrameLevelModel.
            tokenizer: of its text encoder.
            sample_rate: that it was trained with, Hz.
            hop: samples that its encoder makes one frame of.
            name: in result files.
            source: what `load_backend` takes.
        """
        front_end = Waveform(waveform_grid(sample_rate), CLIP_SECONDS, least_samples=2 * hop)
        super().__init__(front_end, model.config.text_config.hidden_size + 1, name, source)
        embedder = model.audio_encoder.embedder
        model.audio_encoder.embedder = _OpenEmbedder(
            embedder.dac_encoder, embedder.bottleneck, embedder.data_proj
        )
        self.text_tower = ModernBertTower(model.text_model, tokenizer)
        # It belongs to the tower now: in two places its weights would be counted twice.
        model.text_model = None
        self.model, self.hop = model, hop
        self.frame_s = hop / sample_rate if type(model).__name__ == FRAMES else None
        cells = -(-self.clip_samples // hop)
        self.layers = _layers(model.audio_encoder, cells, read_by_frames=self.frame_s is not None)
        self.max_tokens = self.text_tower.max_prompt_tokens

    def embed_heard(self, heard: Tensor) -> Tensor:
        """See `FrontEndBackend.embed_heard`."""
        encoded = self._encoded(heard)
        if self.frame_s is None:
            return self._closed(self.model.audio_head(encoded.pooler_output))
        return self._closed(self.model.audio_head(encoded.last_hidden_state)).mean(1)

    def frame_embeddings(self, audio: AudioState) -> Tensor | None:
        """See `CLAPBackend.frame_embeddings`."""
        if self.frame_s is None:
            return None
        encoded = self._encoded(self.front_end.original(audio))
        return self._closed(self.model.audio_head(encoded.last_hidden_state))

    def _encoded(self, heard: Tensor) -> Any:
        """Run the audio encoder: (batch, samples) -> its output, of a whole number of frames."""
        padding = -heard.shape[-1] % self.hop
        # As the feature extractor pads.
        heard = F.pad(heard[:, None], (0, padding), mode="reflect")
        return self.model.audio_encoder(input_values=heard)

    @staticmethod
    def _closed(embedding: Tensor) -> Tensor:
        return torch.cat([embedding.float(), torch.ones_like(embedding[..., :1])], dim=-1)

    def prompt_tokens(self, prompt: str) -> Sequence[int]:
        """See `CLAPBackend.prompt_tokens`."""
        return self.text_tower.prompt_tokens(prompt)

    @torch.no_grad()
    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        """See `CLAPBackend.embed_sentences`; not of unit norm."""
        embedding = self.model.text_audio_head(self.text_tower(prompts)).float()
        scale, bias = self.model.text_audio_logit_scale, self.model.text_audio_logit_bias
        return torch.cat([embedding * scale, bias.expand(len(embedding), 1)], dim=1)


class _OpenEmbedder(nn.Module):
    """transformers' PeAudioEncoderEmbedder without its `no_grad`."""

    def __init__(self, dac_encoder: nn.Module, bottleneck: nn.Module, data_proj: nn.Module) -> None:
        super().__init__()
        self.dac_encoder, self.bottleneck, self.data_proj = dac_encoder, bottleneck, data_proj

    def forward(self, input_values: Tensor, padding_mask: None = None) -> tuple[Tensor, None]:
        """(batch, 1, samples) -> (batch, frames, hidden_size), and no mask."""
        found: Tensor = self.bottleneck(self.dac_encoder(input_values))
        return self.data_proj(found.transpose(1, 2)), None


def load_pe_audio(folder: Path, name: str, source: str) -> PEAudio:
    """Load a model from a folder as `save_pretrained` writes it.

    Args:
        folder: with config, weights (safetensors), feature extractor and tokenizer.
        name: in result files.
        source: what `load_backend` takes.

    Raises:
        CheckpointError: its files are damaged or do not belong together.
    """
    import transformers

    kinds = read_json(folder / CONFIG).get("architectures")
    kind = next((known for known in (FRAMES, WHOLE) if isinstance(kinds, list) and known in kinds), None)
    if kind is None:
        raise CheckpointError(
            f"The configuration of this Perception Encoder does not say which form it has: {WHOLE} or {FRAMES} is "
            "expected under 'architectures'."
        )
    others = (transformers.PeAudioFeatureExtractor, transformers.AutoTokenizer)
    parts = "model, feature extractor and tokenizer"
    model, extractor, tokenizer = open_pretrained(
        folder, getattr(transformers, kind), others, "The Perception Encoder's", parts
    )
    rate, hop = int(extractor.sampling_rate), int(extractor.hop_length)
    return PEAudio(model, tokenizer, rate, hop, name, source).eval().requires_grad_(False)


def _layers(encoder: Any, cells: int, read_by_frames: bool) -> dict[str, MapLayer]:
    """The codec's encoder and blocks of the transformer, evenly spaced.

    Where only the class token is read, what the last block makes of the frames has no effect.
    """
    blocks = list(encoder.layers) if read_by_frames else list(encoder.layers)[:-1]
    count = min(LAYERS - 1, len(blocks))
    places = [round((place + 1) * len(blocks) / count) - 1 for place in range(count)]
    found = {"codec": MapLayer(encoder.embedder.dac_encoder, _over_time, cells)}
    return found | {f"block{place}": MapLayer(blocks[place], _frames, cells) for place in places}


def _over_time(output: Tensor) -> Tensor:
    """(batch, channels, time) as a map."""
    return output.unsqueeze(3)


def _frames(output: Tensor) -> Tensor:
    """(batch, class token and frames, channels) as a map."""
    return output[:, 1:].transpose(1, 2).unsqueeze(3)
