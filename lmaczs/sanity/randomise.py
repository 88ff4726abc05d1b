"""Models with random weights: block by block, for as long as a `with` block lasts.

Weights are drawn anew from normal distributions: kernels and matrices with mean zero and the size of the trained
ones, gains and offsets with the mean and the deviation of the trained ones; and batch normalisations measure their
inputs again. So the random model's maps have about the size of the trained model's and only their content is gone: an
explanation that changes cannot say that it was shaken by maps of a strange size, or by none. (Weights drawn as at the
start of a training, under the trained model's statistics, make the maps explode or vanish.)
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lmaczs.clap.base import CLAPBackend
from lmaczs.clap.hooks import call_order, evaluation_mode
from lmaczs.errors import LMACError
from lmaczs.explainers.base import Method

# What comes after the last and before the first of the backend's named layers.
HEAD, STEM = "head", "stem"


@dataclass(frozen=True)
class Block:
    """Weights that are randomised together.

    Attributes:
        name: in tables and pictures.
        modules: whose own weights belong to it, not those of their children.
    """

    name: str
    modules: tuple[nn.Module, ...]


def audio_blocks(backend: CLAPBackend) -> list[Block]:
    """The audio encoder's blocks from its output to its input.

    The backend's `cam_layers` are a block each, with what runs between them and the next one; before them comes
    the "head", after them the "stem". The order is that of the calls in `encode`.

    Args:
        backend: any CLAP.

    Raises:
        LMACError: it has no weights.
    """
    with torch.no_grad(), evaluation_mode(backend):
        with call_order() as heard:
            backend.analyze(torch.zeros(1, backend.clip_samples, device=backend.mel_filters.device))
        with call_order() as read:
            backend.embed_sentences(_any_prompt(backend))
    layers = backend.cam_layers
    owner = {module: name for name, layer in layers.items() for module in layer.modules()}
    parts: dict[str, list[nn.Module]] = {name: [] for name in (STEM, *layers, HEAD)}
    # Modules whose weights are used without a call of theirs, as an input normalisation that is written out.
    strays = set(backend.modules()) - {backend, *heard, *read}
    parts[STEM] += [module for module in backend.modules() if module in strays and module not in owner]
    place, last = STEM, next(reversed(layers), STEM)
    for module in heard:
        place = owner.get(module, HEAD if place == last else place)
        parts[place].append(module)
    for module, name in owner.items():
        if module in strays:
            parts[name].append(module)
    blocks = [Block(name, _with_weights(parts[name])) for name in reversed(parts)]
    blocks = [block for block in blocks if block.modules]
    if not blocks:
        raise LMACError(
            f"The audio encoder of '{backend.name}' has no weights that could be randomised: choose another backend."
        )
    return blocks


def text_block(backend: CLAPBackend) -> Block:
    """Everything that reads a sentence.

    Raises:
        LMACError: it has no weights.
    """
    with torch.no_grad(), call_order() as read:
        backend.embed_sentences(_any_prompt(backend))
    block = Block("text encoder", _with_weights(read))
    if not block.modules:
        raise LMACError(
            f"The text encoder of '{backend.name}' has no weights that could be randomised: leave out the check 'text'."
        )
    return block


def _any_prompt(backend: CLAPBackend) -> list[str]:
    return ["a sound"] if backend.labels is None else [backend.labels[0]]


def method_block(method: Method) -> Block | None:
    """A method's own trained weights, such as a decoder; None where it has none."""
    own = [part for part in vars(method).values() if isinstance(part, nn.Module)]
    foreign = set(method.backend.modules())
    modules = [module for part in own for module in part.modules() if module not in foreign]
    block = Block("decoder", _with_weights(modules))
    return block if block.modules else None


def _with_weights(modules: Sequence[nn.Module]) -> tuple[nn.Module, ...]:
    return tuple(module for module in dict.fromkeys(modules) if list(module.parameters(recurse=False)))


@contextmanager
@torch.no_grad()
def randomised(
    blocks: Sequence[Block], seed: str, hear_reference: Callable[[], object] | None = None
) -> Iterator[None]:
    """Randomise some blocks, and give every bit back at the end, also after an exception.

    A block's weights are the same whichever other blocks are randomised with it, so that the steps of a cascade
    follow one another.

    Args:
        blocks: whose weights are drawn anew.
        seed: any text.
        hear_reference: runs real sounds through the model; batch normalisations of the blocks take their statistics from
            this one call. Needed where there are any.

    Raises:
        RuntimeError: the weights afterwards are not what they were before; nothing computed later can be trusted.
    """
    modules = [module for block in blocks for module in block.modules]
    kept = [(value, value.clone()) for module in modules for value in _tensors(module)]
    try:
        for block in blocks:
            generator = _generator(f"{seed} {block.name}")
            for module in block.modules:
                for parameter in module.parameters(recurse=False):
                    parameter.copy_(_drawn_like(parameter, generator))
        if hear_reference is not None:
            norms = [module for module in modules if isinstance(module, nn.modules.batchnorm._BatchNorm)]
            with _measuring(norms):
                hear_reference()
        yield
    finally:
        for value, original in kept:
            value.copy_(original)
        if not all(_same_bits(value, original) for value, original in kept):
            raise RuntimeError("The weights after a randomisation are not those before it.")


@contextmanager
def fresh_sentences(backend: CLAPBackend) -> Iterator[None]:
    """Let the text encoder read every sentence anew, with the weights that it has now.

    The backend keeps the vectors of sentences that it has read; inside the block it keeps none from outside, and
    afterwards none from inside.

    Args:
        backend: whose text encoder reads.
    """
    kept = dict(backend._text_cache)
    backend._text_cache.clear()
    try:
        yield
    finally:
        backend._text_cache.clear()
        backend._text_cache.update(kept)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]


def _drawn_like(values: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of a tensor's own size; drawn on the CPU, so that all devices agree."""
    values = values.float()
    noise = torch.randn(values.shape, generator=generator).to(values.device)
    # With a mean, such as the negative one of many trained layers, a ReLU would stay shut for good.
    if values.ndim > 1:
        return values.square().mean().sqrt() * noise
    return values.mean() + values.std(correction=0) * noise


@contextmanager
def _measuring(norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """Let batch normalisations take the statistics of what passes inside the block as their own."""
    before = [(norm, norm.training, norm.momentum) for norm in norms]
    for norm in norms:
        # With momentum 1 the last batch is all that counts, and a norm that is not called keeps what it knows.
        norm.training, norm.momentum = True, 1.0
    try:
        yield
    finally:
        for norm, training, momentum in before:
            norm.training, norm.momentum = training, momentum


def _same_bits(first: Tensor, second: Tensor) -> bool:
    """Equal to the bit: nan is itself, and 0 is not -0."""
    bits = [value.detach().contiguous().view(-1).view(torch.uint8) for value in (first, second)]
    return torch.equal(*bits)


def _generator(seed: str) -> torch.Generator:
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(number)
