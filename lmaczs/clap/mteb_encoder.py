"""A classifier as a model of `mteb` (MAEB), so that its numbers stand beside those of other audio models.

    import mteb
    from lmaczs import load_backend
    from lmaczs.clap.mteb_encoder import MTEBEncoder

    mteb.evaluate(MTEBEncoder(load_backend("compact-2")), mteb.get_task("ESC50_Zeroshot"))

Sounds are cut into windows and embedded as everywhere in this package. Needs `mteb`, which is not installed with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.recording import embed
from lmaczs.errors import LMACError
from lmaczs.hub import weights_sha256
from lmaczs.signal.audio import make_clip, resample

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from mteb.models import ModelMeta
    from mteb.types import PromptType


class MTEBEncoder:
    """Embeds sounds and sentences for `mteb`: its `EncoderProtocol`.

    Of a classifier with labels of its own, sounds are embedded as logits and labels as unit vectors; the similarity is
    their dot product.
    """

    def __init__(self, backend: CLAPBackend) -> None:
        """Take a classifier.

        Args:
            backend: as `lmaczs.load_backend` gives it.
        """
        self.backend = backend
        self.mteb_model_meta = _meta(backend)

    def encode(
        self,
        inputs: Any,
        *,
        task_metadata: "TaskMetadata",
        hf_split: str,
        hf_subset: str,
        prompt_type: "PromptType | None" = None,
        show_progress_bar: bool = True,
        **kwargs: Any,
    ) -> Tensor:
        """Embed batches of sounds or of sentences.

        Args:
            inputs: batches with "audio" (arrays with their sampling rates) or "text".
            task_metadata: of the task; not used, nor are split, subset and prompt type.
            hf_split: see there.
            hf_subset: see there.
            prompt_type: see there.
            show_progress_bar: whether to show one.
            kwargs: what mteb also gives to other models.

        Returns:
            (rows, embed_dim) on the CPU; sums of both where a row has a sound and a sentence.

        Raises:
            LMACError: there is neither, a sound is silent or too long, or a label is unknown to the classifier.
        """
        found = [
            self._row_embeddings(batch)
            for batch in tqdm(inputs, desc=self.backend.name, disable=not show_progress_bar)
        ]
        return torch.cat(found)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Of all pairs: (first, second)."""
        return torch.as_tensor(embeddings1).float() @ torch.as_tensor(embeddings2).float().T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Of rows with the same number: (rows,)."""
        return (torch.as_tensor(embeddings1).float() * torch.as_tensor(embeddings2).float()).sum(-1)

    def _row_embeddings(self, batch: Mapping[str, Any]) -> Tensor:
        parts = []
        if "audio" in batch:
            parts.append(embed(list(self._waveforms(batch["audio"])), self.backend))
        if "text" in batch:
            parts.append(torch.stack([self._sentence(text) for text in batch["text"]]))
        if not parts:
            raise LMACError(
                f"This task gives {', '.join(batch)}: a classifier of sounds takes 'audio' and 'text'."
            )
        return torch.stack(parts).sum(0)

    def _waveforms(self, sounds: Sequence[Any]) -> Iterator[Tensor]:
        rate = self.backend.spectral.sample_rate
        for sound in sounds:
            # A dictionary, or a decoder of `datasets` that answers to the same two names.
            clip = make_clip(torch.as_tensor(sound["array"]).float(), int(sound["sampling_rate"]))
            yield resample(clip, rate).waveform

    @torch.no_grad()
    def _sentence(self, text: str) -> Tensor:
        """Embed one sentence alone, as the package does; what the text encoder cannot read of a long one is cut off."""
        words = text.split()
        while len(words) > 1 and len(self.backend.prompt_tokens(" ".join(words))) > self.backend.max_tokens:
            words.pop()
        shown = text if len(words) == len(text.split()) else " ".join(words)
        return self.backend.encode_text([shown]).embedding[0].cpu()


def _meta(backend: CLAPBackend) -> "ModelMeta":
    """What `mteb` writes beside its results: the weights' hash is the revision.

    Raises:
        LMACError: mteb is not installed.
    """
    try:
        from mteb.models import ModelMeta
        from mteb.models.model_meta import ScoringFunction
    except ImportError as error:
        raise LMACError("mteb is not installed: run 'pip install mteb'.") from error

    sizes = [(value.numel(), value.numel() * value.element_size()) for value in backend.parameters()]
    return ModelMeta(
        loader=None,
        name=f"lmaczs/{backend.name.rpartition('/')[2].rpartition(':')[2]}",
        revision=weights_sha256(backend),
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=sum(count for count, _ in sizes),
        memory_usage_mb=sum(size for _, size in sizes) / 2**20,
        max_tokens=backend.max_tokens,
        embed_dim=backend.embed_dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=ScoringFunction.COSINE
        if backend.unit == "similarity"
        else ScoringFunction.DOT_PRODUCT,
        use_instructions=False,
        training_datasets=None,
        modalities=["audio", "text"],
    )
