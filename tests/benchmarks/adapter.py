"""A new colour by a low-rank adapter, as in chapter 12 with 600 steps, counted on 500 scenes: three seeds with
the adapter on the rows of the new ids, and one with it on all ids and in two blocks.

python tests/benchmarks/adapter.py (sixteen minutes on two cores)
"""

import time

import torch

from vqdit_lite import data
from vqdit_lite.adapter import adapt
from vqdit_lite.layout import sub_layout
from vqdit_lite.multimodal import joint_loss, restrict_to_tokens
from vqdit_lite.shipped import any_to_any, base, load
from vqdit_lite.shipped.any_to_any import LAYOUT, TOKENIZER
from vqdit_lite.training import batches, fit, pick_device

TABLES = ["head", "embedding.ids"]
BLOCKS = [f"blocks.{block}.{layer}" for block in (2, 3) for layer in ("attention.project_out", "mlp.0", "mlp.2")]
NEW_IDS = [TOKENIZER.numbers[data.NEW_COLOUR], *range(len(TOKENIZER) + 64, len(TOKENIZER) + 80)]  # a word, 16 codes
PLACES = {  # rank, layers, rows, learning rate
    "new ids": (4, TABLES, NEW_IDS, 2e-2),
    "everywhere": (3, TABLES + BLOCKS, (), 1e-2),
}


def pack(scenes: data.Scenes, device: torch.device) -> torch.Tensor:
    """Scenes as sequences (B, 95) without a voice."""
    text = TOKENIZER.encode(data.captions(scenes.objects), 7).to(device)
    return LAYOUT.pack(text=text, picture=base.tokens(any_to_any.VQVAE_COLOURS, scenes.pictures, device))


@torch.no_grad()
def shares(model, sets, device) -> dict[str, float]:
    """The share of drawings and of captions that are right, for each set of scenes."""
    right, generator = {}, torch.Generator().manual_seed(1_000_000)
    for name, scenes in sets.items():
        for given, asked in (("text", "picture"), ("picture", "text")):
            made = any_to_any.tell(model, pack(scenes, device), (given,), asked, generator)
            right[f"{name}, {given} to {asked}"] = any_to_any.share_right(made, asked, scenes, device)
    return right


def main():
    device, chance = pick_device(), torch.Generator().manual_seed(2_000_000)
    sets = {"orange": data.scenes_in_new_colour(500, chance), "old colours": data.scenes(500, chance)}
    before = shares(load("any_to_any", device), sets, device)
    print("before:", {name: f"{share:.1%}" for name, share in before.items()})
    part, kept = sub_layout(LAYOUT, "text", "picture"), LAYOUT.tokens("text", "picture").to(device)
    for place, seed in [*(("new ids", seed) for seed in range(3)), ("everywhere", 0)]:
        model, generator = load("any_to_any", device), torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        rank, layers, rows, lr = PLACES[place]
        learning = adapt(model, rank, *layers, rows=rows)
        train = data.scenes_in_new_colour(2000, generator), data.scenes(3000, generator)
        lessons = torch.cat([pack(scenes, device) for scenes in train])[:, kept]

        def loss(x, generator, model=model):
            return joint_loss(part, restrict_to_tokens(model, kept), x, generator)

        start = time.perf_counter()
        for _ in fit(model, loss, batches(lessons, 32), steps=600, lr=lr, seed=seed, ema_decay=0.99):
            pass
        seconds, weights = time.perf_counter() - start, sum(weight.numel() for weight in learning.values())
        right = {name: f"{share:.1%}" for name, share in shares(model, sets, device).items()}
        print(f"{place}, seed {seed}, {weights:,} weights, {seconds:.0f} s: {right}", flush=True)


if __name__ == "__main__":
    main()
