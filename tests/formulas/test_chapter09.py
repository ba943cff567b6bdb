"""Chapter 09: each numbered equation, checked numerically."""

import torch

from vqdit_lite.gaussian import guided
from vqdit_lite.layout import Layout, Segment
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.metrics import recall_at
from vqdit_lite.multimodal import segment_denoiser
from vqdit_lite.schedule import linear

LAYOUT = Layout(Segment("text", 3, (2,)), Segment("picture", 4, (2, 2)))


def logits(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


def test_equation_9_1_weighs_each_segment_by_its_own_time():
    x0 = LAYOUT.pack(text=torch.tensor([[0, 2]]), picture=torch.tensor([[0, 1, 2, 3]]))
    t1, t2, table = 0.4, 0.7, logits((1, 6, 7), 0)
    t = torch.tensor([[t1, t1, t2, t2, t2, t2]])
    generator, by_hand = torch.Generator().manual_seed(0), 0.0
    u = torch.rand(1, 6, generator=torch.Generator().manual_seed(0))
    nll = -table.log_softmax(-1)[0].gather(1, x0[0, :, None])[:, 0]
    for token in range(6):
        time = t1 if token < 2 else t2
        by_hand += nll[token] / time if u[0, token] >= 1 - time else 0  # w(t) = 1/t
    loss = MaskedDiffusion(linear(), LAYOUT.mask_id).loss(lambda x, t: table, x0, generator, t=t)["loss"]
    assert by_hand > 0
    assert torch.isclose(6 * loss, torch.as_tensor(by_hand).to(loss), rtol=1e-5)


def test_equation_9_2_is_the_softmax_over_the_ids_a_token_may_take():
    table = logits((2, 6, 7), 1)
    x = torch.full((2, 6), LAYOUT.mask_id)
    chances = segment_denoiser(LAYOUT, lambda x, t: table)(x, torch.ones(2)).softmax(-1)
    expected = torch.zeros_like(chances)
    expected[:, :2, :3] = table[:, :2, :3].exp() / table[:, :2, :3].exp().sum(-1, keepdim=True)
    expected[:, 2:, 3:] = table[:, 2:, 3:].exp() / table[:, 2:, 3:].exp().sum(-1, keepdim=True)
    assert torch.allclose(chances, expected, atol=1e-12)


def test_equation_9_3_is_guidance_on_probabilities():
    with_words, without = logits((1, 3, 5), 2), logits((1, 3, 5), 3)
    x, t = torch.zeros(1, 3, dtype=torch.long), torch.ones(1)
    for scale in (0.0, 0.5, 1.0, 3.0):
        chances = guided(lambda x, t: with_words, lambda x, t: without, scale)(x, t).softmax(-1)
        product = without.softmax(-1) ** (1 - scale) * with_words.softmax(-1) ** scale
        assert torch.allclose(chances, product / product.sum(-1, keepdim=True), atol=1e-12)


def test_equation_9_4_is_the_same_seen_from_both_sides():
    joint = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)).double()  # of picture and words
    joint /= joint.sum()
    picture, words = joint.sum(1, keepdim=True), joint.sum(0, keepdim=True)
    added_by_words = (joint / words).log() - picture.log()
    added_by_picture = (joint / picture).log() - words.log()
    assert torch.allclose(added_by_words, added_by_picture, atol=1e-12)
    # Of two pictures that fit the words equally well, the one that is rare without them scores higher.
    two = torch.tensor([[0.2, 0.6], [0.2, 0.0]])
    assert (two / two.sum(1, keepdim=True) / two.sum(0)).log()[:, 0].argmax() == 1


def test_equation_9_5_counts_queries_whose_own_candidate_is_among_the_best():
    scores = torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    for k in (1, 5, 30):
        places = [sorted(row.tolist(), reverse=True).index(row[query].item()) for query, row in enumerate(scores)]
        assert abs(recall_at(k, scores) - sum(place < k for place in places) / 30) < 1e-6
