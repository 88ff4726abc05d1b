"""The published AudioSet MobileNet, plainly from its table: random weights under its names, what they give."""

import torch
import torch.nn.functional as F
from torch import Tensor

# kernel, expanded, out, squeeze-excite, activation, stride; as in the table of the start weights.
TABLE = (
    (3, 8, 8, 0, "relu", 1),
    (3, 24, 16, 0, "relu", 2),
    (3, 32, 16, 0, "relu", 1),
    (5, 32, 16, 8, "relu", 2),
    (5, 48, 16, 16, "relu", 1),
    (5, 48, 16, 16, "relu", 1),
    (3, 96, 32, 0, "hardswish", 2),
    (3, 80, 32, 0, "hardswish", 1),
    (3, 72, 32, 0, "hardswish", 1),
    (3, 72, 32, 0, "hardswish", 1),
    (3, 192, 48, 48, "hardswish", 1),
    (3, 272, 48, 72, "hardswish", 1),
    (5, 272, 64, 72, "hardswish", 2),
    (5, 384, 64, 96, "hardswish", 1),
    (5, 384, 64, 96, "hardswish", 1),
)


def published_state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the published names."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    def conv(name: str, out: int, wide: int, kernel: int) -> None:
        state[f"{name}.0.weight"] = draw(out, wide, kernel, kernel) / (wide * kernel * kernel) ** 0.5
        state[f"{name}.1.weight"] = 1 + 0.1 * draw(out)
        state[f"{name}.1.bias"] = 0.1 * draw(out)
        state[f"{name}.1.running_mean"] = 0.1 * draw(out)
        state[f"{name}.1.running_var"] = 0.5 + torch.rand(out, generator=generator)
        state[f"{name}.1.num_batches_tracked"] = torch.tensor(7)

    def linear(name: str, out: int, wide: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = draw(out, wide) / wide**0.5, 0.1 * draw(out)

    conv("features.0", 8, 1, 3)
    wide = 8
    for number, (kernel, expanded, out, squeeze, _, _) in enumerate(TABLE, start=1):
        name, place = f"features.{number}.block", 0
        if expanded != wide:
            conv(f"{name}.{place}", expanded, wide, 1)
            place += 1
        conv(f"{name}.{place}", expanded, 1, kernel)
        place += 1
        if squeeze:
            linear(f"{name}.{place}.conc_se_layers.0.fc1", squeeze, expanded)
            linear(f"{name}.{place}.conc_se_layers.0.fc2", expanded, squeeze)
            place += 1
        conv(f"{name}.{place}", out, expanded, 1)
        wide = out
    conv("features.16", 384, wide, 1)
    linear("classifier.2", 512, 384)
    linear("classifier.5", 527, 512)
    return state


def published_scores(state: dict[str, Tensor], log_mel: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Class scores and the four maps, (batch, channels, freq, time) as the published code has them.

    Args:
        state: of `published_state`.
        log_mel: (batch, mel, time).
    """

    def conv(name: str, maps: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        kernel = state[f"{name}.0.weight"]
        maps = F.conv2d(maps, kernel, stride=stride, padding=(kernel.shape[-1] - 1) // 2, groups=groups)
        norm = [state[f"{name}.1.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(maps, *norm, eps=1e-3)

    def linear(name: str, values: Tensor) -> Tensor:
        return F.linear(values, state[f"{name}.weight"], state[f"{name}.bias"])

    maps = F.hardswish(conv("features.0", log_mel.unsqueeze(1), stride=2))
    hidden = []
    for number, (_, expanded, out, squeeze, activation, stride) in enumerate(TABLE, start=1):
        name, place, inner = f"features.{number}.block", 0, maps
        act = getattr(F, activation)
        if expanded != maps.shape[1]:
            inner = act(conv(f"{name}.0", inner))
            place = 1
        inner = act(conv(f"{name}.{place}", inner, stride=stride, groups=expanded))
        if squeeze:
            se = f"{name}.{place + 1}.conc_se_layers.0"
            weight = torch.sigmoid(linear(f"{se}.fc2", F.relu(linear(f"{se}.fc1", inner.mean((2, 3))))))
            inner = inner * weight[:, :, None, None]
            place += 1
        inner = conv(f"{name}.{place + 1}", inner)
        maps = maps + inner if stride == 1 and maps.shape[1] == out else inner
        if number in (3, 6, 12):
            hidden.append(maps)
    maps = F.hardswish(conv("features.16", maps))
    features = F.hardswish(linear("classifier.2", maps.mean((2, 3))))
    return linear("classifier.5", features), [*hidden, maps]
