"""The text sides of published CLAPs: a transformer, its tokenizer, and which of its states stands for the sentence."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

END_OF_TEXT = "<|endoftext|>"


class TextTower(nn.Module, ABC):
    """Sentences -> features.

    Attributes:
        model: the transformer.
        tokenizer: of its vocabulary.
        max_tokens: longer sentences are cut.
        width: features of a sentence.
    """

    model: nn.Module
    max_tokens: int
    width: int

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        super().__init__()
        self.tokenizer = tokenizer

    @abstractmethod
    def forward(self, prompts: Sequence[str]) -> Tensor:
        """(prompts, width), on the device of the model."""

    @property
    def max_prompt_tokens(self) -> int:
        """Tokens of a prompt itself that are read: the tokenizer's own marks need some."""
        return self.max_tokens - int(self.tokenizer.num_special_tokens_to_add())

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Token ids of one prompt, uncut and without the tokenizer's own marks."""
        ids: list[int] = self.tokenizer(prompt, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def tokens(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids and attention mask, padded to the longest of the prompts, on the device of the model."""
        batch = self.tokenizer(
            list(prompts), padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
        )
        device = next(self.parameters()).device
        return {name: value.to(device) for name, value in batch.items()}


class BertTower(TextTower):
    """BERT; the last state of its first token."""

    def __init__(
        self, sizes: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase", max_tokens: int = 100
    ) -> None:
        """Build with fresh weights.

        Args:
            sizes: arguments of BertConfig; none is bert-base.
            tokenizer: of its vocabulary.
            max_tokens: longer sentences are cut.
        """
        from transformers import BertConfig, BertModel

        super().__init__(tokenizer)
        self.model = BertModel(BertConfig(**sizes), add_pooling_layer=False)
        self.max_tokens = max_tokens
        self.width = self.model.config.hidden_size

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """See `TextTower.forward`."""
        hidden: Tensor = self.model(**self.tokens(prompts)).last_hidden_state
        return hidden[:, 0]


class GPT2Tower(TextTower):
    """GPT-2; the last state of the end-of-text token that closes every sentence.

    The reference looks for that token by counting ids other than 0, the id of its padding. 0 is also the id of '!', so
    a prompt with an exclamation mark is read one token too early there. Here the token is simply the last one: GPT-2
    looks back only, and padding, which follows, changes nothing.
    """

    def __init__(
        self, sizes: Mapping[str, Any], tokenizer: "PreTrainedTokenizerBase", max_tokens: int = 77
    ) -> None:
        """Build with fresh weights.

        Args:
            sizes: arguments of GPT2Config; none is gpt2.
            tokenizer: of its vocabulary.
            max_tokens: longer sentences are cut; the end-of-text token stays.
        """
        from transformers import GPT2Config, GPT2Model

        super().__init__(tokenizer)
        self.model = GPT2Model(GPT2Config(**sizes))
        self.max_tokens = max_tokens
        self.width = self.model.config.n_embd

    @property
    def closing(self) -> list[int]:
        """Tokens that end every sentence."""
        ids: list[int] = self.tokenizer(f" {END_OF_TEXT}")["input_ids"]
        return ids

    @property
    def max_prompt_tokens(self) -> int:
        """See `TextTower.max_prompt_tokens`."""
        return self.max_tokens - len(self.closing)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """See `TextTower.forward`."""
        device = next(self.parameters()).device
        closing = self.closing
        rows = []
        for prompt in prompts:
            words = self.tokenizer(prompt)["input_ids"][: self.max_tokens - len(closing)]
            ids = torch.tensor([words + closing], device=device)
            rows.append(self.model(input_ids=ids, use_cache=False).last_hidden_state[:, -1])
        return torch.cat(rows)


class RobertaTower(TextTower):
    """RoBERTa as transformers' CLAP has it; the pooled state of its first token."""

    def __init__(self, config: Any, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Build with fresh weights.

        Args:
            config: a ClapTextConfig.
            tokenizer: of its vocabulary.
        """
        from transformers import ClapTextModel

        super().__init__(tokenizer)
        self.model = ClapTextModel(config)
        self.max_tokens = config.max_position_embeddings - 2  # positions count from the padding's id + 1
        self.width = config.hidden_size

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """See `TextTower.forward`."""
        tokens = self.tokens(prompts)
        heard = self.model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        pooled: Tensor = heard.pooler_output
        return pooled


class ModernBertTower(TextTower):
    """ModernBERT, as Perception Encoders have it; the last state of its first token."""

    def __init__(self, model: Any, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Wrap a model.

        Args:
            model: a ModernBertModel.
            tokenizer: of its vocabulary.
        """
        super().__init__(tokenizer)
        self.model = model
        self.max_tokens = min(int(model.config.max_position_embeddings), tokenizer.model_max_length)
        self.width = model.config.hidden_size

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """See `TextTower.forward`."""
        tokens = self.tokens(prompts)
        read = self.model(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], output_hidden_states=True
        )
        state: Tensor = read.hidden_states[-1]
        return state[:, 0]
