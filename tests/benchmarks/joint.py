"""The shipped model of words and pictures: how fast it draws, and how well it finds among 16 and among 100.

python tests/benchmarks/joint.py (some five minutes on two cores)
"""

import torch
from timing import seconds

from vqdit_lite import data
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.metrics import recall_at
from vqdit_lite.multimodal import fill_in, pairwise_log_likelihoods, segment_denoiser
from vqdit_lite.schedule import linear
from vqdit_lite.shipped import base, load, scenes
from vqdit_lite.training import pick_device


def draw_sixteen(model, vqvae, x):
    """Draw 16 pictures from text, guidance and decoding included."""
    generator, words = torch.Generator().manual_seed(0), scenes.LAYOUT.tokens("text")
    drawn = fill_in(scenes.LAYOUT, model, x[:16], words, generator, 16, base.GUIDANCE, ("text",))
    vqvae.decode(scenes.LAYOUT.unpack(drawn)["picture"].flatten(1)).cpu()


@torch.no_grad()
def main():
    device = pick_device()
    model, vqvae = load("joint_scenes", device), load("vqvae_scenes", device)
    fresh = data.scenes(600, torch.Generator().manual_seed(2_000_000))
    said = data.captions(fresh.objects)
    different = [said.index(sentence) for sentence in dict.fromkeys(said)]
    x = scenes.pairs(data.Scenes(fresh.pictures[different], fresh.objects[different]), device)
    taken = seconds(lambda: draw_sixteen(model, vqvae, x))
    print(f"{device.type}, {torch.get_num_threads()} threads: 16 pictures from text in {taken:.2f} s")
    for size in (16, 100):
        groups = x[: len(x) // size * size].split(size)[: 160 // size]
        recall = {}
        for group in groups:
            given_words = pairwise_log_likelihoods(scenes.LAYOUT, model, group, "text")  # row: picture, column: words
            alone = -MaskedDiffusion(linear(), scenes.LAYOUT.mask_id).nelbo(
                segment_denoiser(scenes.LAYOUT, model, hide=("text",)),
                group,
                torch.Generator().manual_seed(0),
                draws=16,
                frozen=scenes.LAYOUT.tokens("text"),
            )
            tables = {
                "words for a picture": given_words,
                "a picture for words, prior taken off": (given_words - alone[:, None]).T,
                "a picture for words, prior left in": given_words.T,
            }
            for task, table in tables.items():
                for k in (1, 5):
                    recall[task, k] = recall.get((task, k), 0) + recall_at(k, table) / len(groups)
        for (task, k), share in recall.items():
            print(f"among {size}: {task}, recall@{k}: {share:.3f}", flush=True)


if __name__ == "__main__":
    main()
