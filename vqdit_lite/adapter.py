"""Adapters: teach a trained model something new, and leave all it knows as it is."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["LowRank", "adapt"]


class LowRank(nn.Module):
    """A frozen layer and a small correction that learns: layer(x) + up(down(x)), zero at the start.

    Args:
        layer: `nn.Linear`, for x (…, in) to (…, out), or `nn.Embedding`, for ids (…) to (…, out). It is frozen.
        rank: r, the features between `down` (in to r, random at the start) and `up` (r to out, zero at the start).
        rows: which rows of the layer's weight are corrected, outputs of `nn.Linear` or ids of `nn.Embedding`; all,
            if none are named.

    Source: arXiv 2106.09685, section 4.1, with alpha = r.

    >>> layer = nn.Linear(64, 32)
    >>> adapter = LowRank(layer, rank=2)
    >>> x = torch.rand(5, 64)
    >>> adapter(x).equal(layer(x)), [weight.numel() for weight in adapter.parameters() if weight.requires_grad]
    (True, [128, 64])
    """

    down: nn.Linear | nn.Embedding
    chosen: Tensor  # (rows of the weight,) 1 where it is corrected

    def __init__(self, layer: nn.Linear | nn.Embedding, rank: int, rows: Sequence[int] = ()):
        _check_adapter(layer, rank, rows)
        super().__init__()
        self.layer = layer.requires_grad_(False)
        if isinstance(layer, nn.Linear):
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        else:
            self.down = nn.Embedding(layer.num_embeddings, rank)
            self.up = nn.Linear(rank, layer.embedding_dim, bias=False)
        nn.init.zeros_(self.up.weight)
        chosen = torch.ones(len(layer.weight))
        if rows:
            chosen = torch.zeros_like(chosen).index_fill(0, torch.tensor(rows), 1.0)
        self.register_buffer("chosen", chosen, persistent=False)
        self.to(layer.weight)  # weights are drawn on the CPU, then moved

    def forward(self, x: Tensor) -> Tensor:
        chosen = self.chosen if isinstance(self.layer, nn.Linear) else self.chosen[x][..., None]
        return self.layer(x) + chosen * self.up(self.down(x))  # (12.1)

    @property
    def weight(self) -> Tensor:
        """The weight of a single layer that does the same, shaped like the frozen one's."""
        if isinstance(self.layer, nn.Linear):
            change = self.up.weight @ self.down.weight  # (out, r) × (r, in) -> (out, in)
        else:
            change = self.down.weight @ self.up.weight.T  # (ids, r) × (r, out) -> (ids, out)
        return self.layer.weight + self.chosen[:, None] * change

    @property
    def bias(self) -> Tensor | None:
        """The bias of the frozen layer, which stays as it is; None if there is none."""
        return self.layer.bias if isinstance(self.layer, nn.Linear) else None


def adapt(model: nn.Module, rank: int, *layers: str, rows: Sequence[int] = ()) -> dict[str, nn.Parameter]:
    """Freeze a model, put `LowRank` on each linear layer or table whose name ends in one of `layers`, there on all rows
    or on those named, and return the weights that now learn, by their names.

    They are all that there is to save. To load them, adapt the same model in the same way, then
    `model.load_state_dict(saved, strict=False)`.

    >>> from vqdit_lite.transformer import DiT, sincos_grid
    >>> model = DiT(nn.Linear(4, 64), outputs=4, positions=sincos_grid(4, 4, 64), depth=2)
    >>> list(adapt(model, 2, "blocks.1.attention.project_in"))
    ['blocks.1.attention.project_in.down.weight', 'blocks.1.attention.project_in.up.weight']
    """
    _check_endings(model, layers)
    model.requires_grad_(False)
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear | nn.Embedding) and name.endswith(layers):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, LowRank(layer, rank, rows))
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


# ---------------------------------------------------------------- guards


def _check_adapter(layer: nn.Module, rank: int, rows: Sequence[int]) -> None:
    if not isinstance(layer, nn.Linear | nn.Embedding) or rank < 1:
        raise ValueError(
            f"LowRank takes an nn.Linear or nn.Embedding and a rank of at least 1; got {type(layer).__name__} and "
            f"{rank}."
        )
    count = len(layer.weight)
    if not all(0 <= row < count for row in rows):
        raise ValueError(f"rows must lie in 0 … {count - 1}; got {list(rows)}.")


def _check_endings(model: nn.Module, endings: tuple[str, ...]) -> None:
    able = [name for name, part in model.named_modules() if isinstance(part, nn.Linear | nn.Embedding)]
    if not any(name.endswith(endings) for name in able):
        raise ValueError(f"No layer's name ends in one of {endings}; layers to adapt are: {', '.join(able)}.")
