"""The heads of LAION's CLAP."""

import torch.nn.functional as F
from torch import Tensor, nn


class LAIONProjection(nn.Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self, in_features: int, embed_dim: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(in_features, embed_dim)
        self.linear2 = nn.Linear(embed_dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, in_features) -> (batch, embed_dim), not yet of unit norm."""
        projected: Tensor = self.linear2(F.relu(self.linear1(features)))
        return projected
