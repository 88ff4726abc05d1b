"""A classifier with labels of its own behind the contract of a CLAP: logits are the embedding, labels the prompts."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmaczs.clap.front_end_backend import FrontEndBackend
from lmaczs.clap.labels.front_ends import FrontEnd
from lmaczs.clap.prompts import plain_prompt
from lmaczs.errors import LMACError, PromptError

NAMED = 3


class LabelClassifier(FrontEndBackend):
    """A frozen module that gives one logit a label.

    The similarity of a sound and a label is the label's logit, the logit scale is 1. Probabilities are relative to the
    labels that are asked for, as with every classifier here: all of them, or the chosen ones; a multi-label classifier
    decides on each by itself. The logits of a recording of several windows are the mean of theirs, weighted by how much
    of the time that sounds they cover.

    Attributes:
        module: gives the logits.
    """

    def __init__(
        self,
        module: nn.Module,
        labels: Sequence[str],
        front_end: FrontEnd,
        multi_label: bool = False,
        name: str = "own",
        source: str = "",
    ) -> None:
        """Put module and front end together; nothing is run.

        Args:
            module: its input is that of the front end, its output (batch, labels) logits, or has them as `logits`.
            labels: in the order of the logits.
            front_end: what the module hears.
            multi_label: whether each label is decided on its own, by a sigmoid.
            name: in result files.
            source: what `load_backend` takes, if it came from there.

        Raises:
            LMACError: labels that cannot be told apart, or too few.
        """
        checked = _checked(labels, multi_label)
        super().__init__(front_end, len(checked), name, source)
        self.module, self.labels, self.multi_label = module, checked, multi_label
        self.max_tokens = 1
        self._exact = {label: index for index, label in enumerate(checked)}
        self._plain = {plain_prompt(label): index for index, label in enumerate(checked)}

    def embed_heard(self, heard: Tensor) -> Tensor:
        """See `FrontEndBackend.embed_heard`: logits."""
        found = self.module(heard)
        logits: Tensor = getattr(found, "logits", found)
        return logits.float()

    def index_of(self, prompt: str) -> int:
        """The label that a prompt names: as it is written, or in its plain form ("this is the sound of a dog").

        Raises:
            PromptError: it names none.
        """
        found = self._exact.get(prompt, self._plain.get(plain_prompt(prompt)))
        if found is None:
            assert self.labels is not None
            some = ", ".join(f"'{label}'" for label in self.labels[:NAMED])
            rest = " and so on" if len(self.labels) > NAMED else ""
            raise PromptError(
                f"'{prompt}' is none of the {len(self.labels)} labels that this classifier was trained for "
                f"({some}{rest}): choose among them, or a classifier that takes any prompt."
            )
        return found

    def prompt_tokens(self, prompt: str) -> Sequence[int]:
        """See `CLAPBackend.prompt_tokens`: the number of the label."""
        return (self.index_of(prompt),)

    def embed_sentences(self, prompts: Sequence[str]) -> Tensor:
        """Unit vectors of the labels: (prompts, labels)."""
        rows = torch.tensor([self.index_of(prompt) for prompt in prompts])
        return torch.eye(self.embed_dim)[rows].to(self.mel_filters.device)


def _checked(labels: Sequence[str], multi_label: bool) -> tuple[str, ...]:
    """Labels without space around them.

    Raises:
        LMACError: see `LabelClassifier`.
    """
    cleaned = tuple(str(label).strip() for label in labels)
    if len(cleaned) < (1 if multi_label else 2):
        raise LMACError(f"{len(cleaned)} labels are too few: a classifier decides between two or more.")
    twins = sorted({label for label in cleaned if cleaned.count(label) > 1 or not label})
    if twins:
        raise LMACError(
            f"The label '{twins[0]}' is empty or stands twice: give each output a name of its own."
        )
    return cleaned
