"""Looking inside a model without leaving a trace; the only hooks in the project."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

# Blocks of some transformers put out a tuple that begins with the features.
Output = Tensor | tuple[Any, ...]


def main_output(output: Output) -> Tensor:
    """What a layer puts out: a tensor, or the first of a tuple."""
    found: Tensor = output if isinstance(output, Tensor) else output[0]
    return found


@contextmanager
def output_as_leaf(module: nn.Module) -> Iterator[list[Tensor]]:
    """Cut the autograd graph at a module's output, and hand the output out as a leaf that gradients can be
    taken at.

    Everything after the module then depends on the leaf, so one backward pass to it costs only the later
    layers and needs no gradient of any weight. The hook is gone when the block ends, also by an exception.

    Args:
        module: called inside the block; its output is one floating-point tensor, or begins with it.

    Yields:
        A list that gets the output of each call, detached, with requires_grad set.
    """
    outputs: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Output) -> Output:
        outputs.append(main_output(output).detach().requires_grad_(True))
        return outputs[-1] if isinstance(output, Tensor) else (outputs[-1], *output[1:])

    handle = module.register_forward_hook(cut)
    try:
        yield outputs
    finally:
        handle.remove()


@contextmanager
def outputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Keep what modules put out, as part of the autograd graph.

    Args:
        modules: each is called once inside the block; its output is one tensor, or begins with it.

    Yields:
        A list that gets the outputs in the order of the calls.
    """
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Output) -> None:
        outputs.append(main_output(output))

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def named_maps(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Keep what modules put out that may be a map: floating, with three or four axes; of those called once.

    Args:
        modules: by name; any of them may be called, or not.

    Yields:
        A dictionary that gets the outputs by name, in the order of the calls' ends, as part of the autograd graph. When
        the block ends, those of modules that were called again are taken out.
    """
    outputs: dict[str, Tensor] = {}
    again: set[str] = set()

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if name in outputs:
                again.add(name)
            found = output[0] if isinstance(output, tuple) and output else output
            if isinstance(found, Tensor) and found.is_floating_point() and found.ndim in (3, 4):
                outputs[name] = found

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    try:
        yield outputs
        for name in again:
            outputs.pop(name, None)
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Switch a model to evaluation mode and give every module its own flag back afterwards.

    `model.train(flag)` would not do: it gives all modules the flag of the outermost one.
    """
    flags = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in flags.items():
            module.training = training


@contextmanager
def call_order() -> Iterator[list[nn.Module]]:
    """Note which modules run, of any model in this process, each at its first call.

    Yields:
        A list that grows while the block runs; a parent stands before its children.
    """
    order: list[nn.Module] = []

    def note(module: nn.Module, _inputs: tuple[object, ...]) -> None:
        if module not in order:
            order.append(module)

    handle = register_module_forward_pre_hook(note)
    try:
        yield order
    finally:
        handle.remove()
