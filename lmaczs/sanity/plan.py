"""What is checked of explanations, step by step.

- cascade (Adebayo et al. 2018): the explanation of the predicted prompt, while the audio encoder loses its trained
  weights block by block from the output to the input.
- text: the same with the prompt read by a text encoder of random weights; the sound is heard as before.
- decoder: the same with random weights in the method itself, for methods that were trained.
- prompts: the clip's label against labels of other clips; also gives mask means over similarities.
"""

import random
from dataclasses import dataclass

from lmaczs.data.clips import Clip
from lmaczs.errors import LMACError
from lmaczs.evaluation.contenders import Contender
from lmaczs.evaluation.evaluator import MaskEvaluator
from lmaczs.evaluation.masks import CONTROLS, IDEAL
from lmaczs.sanity.randomise import Block, audio_blocks, method_block, text_block
from lmaczs.types import MaskDomain

CHECKS = ("cascade", "text", "decoder", "prompts")
# Masks that know neither model nor prompt.
UNTOUCHED = tuple(name for name in CONTROLS if name != IDEAL)
OTHER_CLIP, RIGHT, UNRELATED = "another clip", "right", "unrelated"


@dataclass(frozen=True)
class Step:
    """One question that is put to clips.

    Attributes:
        check: one of `CHECKS`, or "chance".
        name: of the block that becomes random, or of the kind of prompt.
        number: of the random model or of the unrelated prompt.
        blocks: that are randomised.
    """

    check: str
    name: str
    number: int = 0
    blocks: tuple[Block, ...] = ()

    @property
    def condition(self) -> str:
        """Name in result files."""
        return f"{self.check}/{self.name}/{self.number}"


@dataclass(frozen=True, eq=False)
class SanityPlan:
    """What is checked, and how.

    Attributes:
        evaluator: the classifier and the labels to choose between.
        contenders: methods and controls, all in one mask domain.
        checks: of `CHECKS`.
        seeds: how many random models.
        unrelated: how many other labels each clip is explained for.
        seed: of everything that is drawn.
    """

    evaluator: MaskEvaluator
    contenders: tuple[Contender, ...]
    checks: tuple[str, ...] = CHECKS
    seeds: int = 5
    unrelated: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be checked.

        Raises:
            LMACError: a number is below 1, there is no such check, or only one label to tell apart.
        """
        if unknown := [check for check in self.checks if check not in CHECKS]:
            raise LMACError(f"There is no check '{unknown[0]}': choose among {', '.join(CHECKS)}.")
        if not self.checks:
            raise LMACError(f"No check was asked for: choose among {', '.join(CHECKS)}.")
        if self.seeds < 1:
            raise LMACError(f"{self.seeds} random models were asked for: ask for at least 1.")
        if self.unrelated < 1:
            raise LMACError(f"{self.unrelated} unrelated prompts were asked for: ask for at least 1.")
        labels = self.evaluator.labels
        if "prompts" in self.checks and len(labels) < 2:
            raise LMACError(
                f"All clips have the label '{labels[0]}', so no prompt is unrelated: give clips of at least two labels, "
                "or leave out the check 'prompts'."
            )

    @property
    def domain(self) -> MaskDomain:
        """Domain of all masks."""
        return self.contenders[0].domain

    @property
    def methods(self) -> tuple[Contender, ...]:
        """Contenders that are no controls."""
        return tuple(contender for contender in self.contenders if not contender.is_control)

    def takers(self, step: Step) -> list[Contender]:
        """Who answers a step: who has no trained weights of its own has no decoder that could be randomised."""
        return [
            contender
            for contender in self.contenders
            if step.check != "decoder" or (not contender.is_control and method_block(contender.method))
        ]

    def unrelated_labels(self, clip: Clip) -> list[str]:
        """Labels of other clips, the same in every run; more of them begin with the fewer."""
        others = [label for label in self.evaluator.labels if label != clip.label]
        random.Random(f"{self.seed} {clip.path}").shuffle(others)
        return others[: self.unrelated]

    def steps(self) -> list[Step]:
        """Everything that is asked, in order.

        Raises:
            LMACError: the backend has no weights to randomise.
        """
        backend, seeds = self.evaluator.backend, range(self.seeds)
        steps = [Step("chance", OTHER_CLIP)]
        if "cascade" in self.checks:
            blocks = audio_blocks(backend)
            steps += [
                Step("cascade", block.name, seed, tuple(blocks[: depth + 1]))
                for seed in seeds
                for depth, block in enumerate(blocks)
            ]
        if "text" in self.checks:
            block = text_block(backend)
            steps += [Step("text", block.name, seed, (block,)) for seed in seeds]
        if "decoder" in self.checks:
            found = [method_block(contender.method) for contender in self.methods]
            own = tuple(block for block in found if block is not None)
            steps += [Step("decoder", "decoder", seed, own) for seed in seeds if own]
        if "prompts" in self.checks:
            count = min(self.unrelated, len(self.evaluator.labels) - 1)
            steps += [Step("prompts", RIGHT), *(Step("prompts", UNRELATED, turn) for turn in range(count))]
        return steps
