"""The model of words, pictures and speech, and the VQ-VAE that knows one colour more."""

from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Tensor

from vqdit_lite import data
from vqdit_lite.audio import to_waves
from vqdit_lite.autoencoder import VQVAE
from vqdit_lite.data.speech import mels_of
from vqdit_lite.layout import Layout, Segment, sub_layout
from vqdit_lite.metrics import psnr, word_error_rate
from vqdit_lite.multimodal import (
    TokenEmbedding,
    answer,
    balance_segments,
    joint_loss,
    restrict_to_tokens,
    retry_until_consistent,
    segment_positions,
)
from vqdit_lite.quantize import VectorQuantizer, nearest_code
from vqdit_lite.shipped import scenes, speech
from vqdit_lite.shipped.base import FRESH, GUIDANCE, Shipped, tokens
from vqdit_lite.shipped.judges import JUDGE_SPEECH, listen
from vqdit_lite.text import Tokenizer
from vqdit_lite.transformer import DiT

N_TRAIN_TRIPLES = 60_000
NEW_CODES = 16  # for a colour more
TOKENIZER = Tokenizer((*data.CAPTION_WORDS, data.NEW_COLOUR))  # the last word is there, but was never used
LAYOUT = Layout(
    Segment("text", len(TOKENIZER), (7,)),
    Segment("picture", scenes.CODES + NEW_CODES, (6, 6)),
    speech.LAYOUT.segments["sound"],
)

# ---------------------------------------------------------------- a VQ-VAE with codes for a new colour


@torch.no_grad()
def _add_codes_for_new_colour(model: VQVAE) -> None:
    """The weights of `vqvae_scenes`, and 16 codes more, by k-means on what its encoder says of the new colour."""
    known = scenes.VQVAE_SCENES.load()
    model.encoder.load_state_dict(known.encoder.state_dict())
    model.decoder.load_state_dict(known.decoder.state_dict())
    fresh = data.scenes_in_new_colour(2000, torch.Generator().manual_seed(0))
    new = (fresh.objects > data.NUM_OBJECTS).view(-1, 3, 3)
    new = new.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)  # (B, 9) places -> (B, 36) tokens
    seen = model.encoder(fresh.pictures)[new].numpy()
    means = KMeans(NEW_CODES, n_init=2, random_state=0).fit(seen).cluster_centers_
    model.quantizer.codebook.copy_(torch.cat([known.quantizer.codebook, torch.from_numpy(means)]))
    model.quantizer.sums.copy_(model.quantizer.codebook)


def _loss_of_decoder(model: VQVAE, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Only the decoder learns: tokens that other models have learned keep their meaning."""
    with torch.no_grad():
        ids = nearest_code(model.encoder(x), model.quantizer.codebook)
    return {"loss": F.mse_loss(model.decoder(model.quantizer.lookup(ids)), x) / x.var()}


def _scenes_of_all_colours(generator: torch.Generator, device: torch.device) -> Tensor:
    known, new = data.scenes(15_000, generator), data.scenes_in_new_colour(10_000, generator)
    return torch.cat([known.pictures, new.pictures]).to(device)


@torch.no_grad()
def score_vqvae(model: VQVAE, device: torch.device, count: int) -> dict[str, float]:
    """PSNR and share of scenes that read the same after coding, of fresh scenes in the old colours and the new one;
    and the share of tokens in the old ones that are those of `vqvae_scenes`."""
    generator, scores = torch.Generator().manual_seed(FRESH), {}
    for name, draw in (("old", data.scenes), ("new", data.scenes_in_new_colour)):
        fresh = draw(count, generator)
        decoded = model.decode(model.encode(fresh.pictures.to(device))).cpu()
        same = (data.read_scenes(decoded, data.ALL_OBJECTS) == fresh.objects).all(1).float().mean().item()
        scores |= {f"psnr_db_{name}": psnr(decoded, fresh.pictures), f"scenes_read_right_{name}": same}
    pictures = data.scenes(count, generator).pictures.to(device)
    kept = model.encode(pictures) == scenes.VQVAE_SCENES.load(device).encode(pictures)
    return scores | {"tokens_as_before": kept.float().mean().item()}


VQVAE_COLOURS = Shipped(
    name="vqvae_colours",
    about="vqvae_scenes with 16 codes more, for a colour that it never saw, and a decoder that knows them",
    build=lambda: VQVAE((3, 24, 24), VectorQuantizer(scenes.CODES + NEW_CODES, dim=8, decay=0.97), width=64),
    examples=_scenes_of_all_colours,
    loss=_loss_of_decoder,
    score=score_vqvae,
    settings={"steps": 2000, "lr": 1e-3, "seed": 0, "ema_decay": 0.995},
    batch=32,
    at_least={
        "psnr_db_old": 39,
        "scenes_read_right_old": 0.98,
        "scenes_read_right_new": 0.98,
        "tokens_as_before": 0.95,
    },
    starts_from=(scenes.VQVAE_SCENES,),
    start=_add_codes_for_new_colour,
    count=2000,
)

# ---------------------------------------------------------------- how to ask


class Asking(NamedTuple):
    """How a segment is best asked for."""

    steps: int
    scale: float  # of guidance
    temperature: float
    choice_temperature: float  # of the order in which tokens are filled in


ASKING = {
    "text": Asking(7, GUIDANCE, 1.0, 1.0),
    "picture": Asking(36, GUIDANCE, 1.0, 1.0),  # token by token, as what is filled in at once may not fit together
    "sound": Asking(52, 1.5, 0.6, 0.3),
}


def tell(
    model: DiT,
    x: Tensor,
    given: tuple[str, ...],
    asked: str,
    generator: torch.Generator,
    scale: float | None = None,
    steps: int | None = None,
) -> Tensor:
    """Sequences (B, 95) of the any-to-any model in which the segment `asked` is filled in from those `given`, as it is
    best asked for unless scale or steps are told; all other segments are hidden. The model has practised no sequence
    without words, so let the words be among them."""
    kept, best = LAYOUT.tokens(*given, asked).to(x.device), ASKING[asked]
    filled = torch.full_like(x, LAYOUT.mask_id)
    filled[:, kept] = answer(
        sub_layout(LAYOUT, *given, asked),
        restrict_to_tokens(model, kept),
        x[:, kept],
        given,
        (asked,),
        generator,
        steps or best.steps,
        best.scale if scale is None else scale,
        best.temperature,
        best.choice_temperature,
    )
    return filled


def translate(
    model: DiT,
    x: Tensor,
    given: str,
    asked: str,
    generator: torch.Generator,
    scale: float | None = None,
    steps: int | None = None,
    tries: int = 1,
) -> Tensor:
    """Sequences (B, 95) with the segment `asked` made from the one that is `given`: first its words, then, from the
    words alone, the rest.

    With more than one of `tries`, the model reads what it made, and tries again where it reads other words.
    """
    if given != "text":
        x = tell(model, x, (given,), "text", generator)
    if asked == "text":
        return x
    return retry_until_consistent(
        x,
        lambda rows: tell(model, rows, ("text",), asked, generator, scale, steps),
        lambda rows: tell(model, rows, (asked,), "text", generator),
        LAYOUT.tokens("text"),
        tries,
    )


# ---------------------------------------------------------------- the model

PRACTICE = {  # what a batch holds, and how often
    ("text", "picture"): 0.4,
    ("text", "sound"): 0.35,
    ("text", "picture", "sound"): 0.2,
    ("picture",): 0.05,  # in the new colour, and without a word
}


def triples(
    fresh: data.Scenes, generator: torch.Generator, device: torch.device, voices: Sequence[int] = data.KNOWN_VOICES
) -> Tensor:
    """Scenes as sequences (B, 95): what their captions say, what they look like, and how a voice speaks."""
    sentences = data.captions(fresh.objects)
    mels = mels_of(data.speak(sentences, generator, voices))
    return LAYOUT.pack(
        text=TOKENIZER.encode(sentences, 7).to(device),
        picture=tokens(VQVAE_COLOURS, fresh.pictures, device),
        sound=tokens(speech.VQVAE_SOUND, mels, device),
    )


def _train_triples(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    parts = [triples(data.scenes(5000, generator), generator, device) for _ in range(N_TRAIN_TRIPLES // 5000)]
    new = data.scenes_in_new_colour(N_TRAIN_TRIPLES, generator).pictures
    return torch.cat(parts), LAYOUT.pack(picture=tokens(VQVAE_COLOURS, new, device))


def _build() -> DiT:
    codebooks = {
        "picture": VQVAE_COLOURS.load().quantizer.codebook,
        "sound": speech.VQVAE_SOUND.load().quantizer.codebook,
    }
    return DiT(
        TokenEmbedding(LAYOUT, 128, **codebooks), LAYOUT.vocabulary, segment_positions(LAYOUT, 128), depth=4, heads=4
    )


@torch.no_grad()
def take_over_joint_scenes(model: DiT) -> None:
    """Start from what `joint_scenes` knows of words and pictures; sounds and the new codes start at random."""
    old, there = scenes.JOINT_SCENES.load(), scenes.LAYOUT
    model.blocks.load_state_dict(old.blocks.state_dict())
    model.time.load_state_dict(old.time.state_dict())
    model.modulation.load_state_dict(old.modulation.state_dict())
    model.embedding.projections["picture"].load_state_dict(old.embedding.projections["picture"].state_dict())
    model.embedding.modality.weight[:2] = old.embedding.modality.weight
    words, codes = len(scenes.TOKENIZER), there.segments["picture"].vocabulary
    first = LAYOUT.segments["text"].vocabulary  # where the codes of pictures begin
    for new, known in (
        (model.embedding.ids.weight, old.embedding.ids.weight),
        (model.head.weight, old.head.weight),
        (model.head.bias, old.head.bias),
    ):
        new[:words] = known[:words]
        new[first : first + codes] = known[words : words + codes]
    model.embedding.ids.weight[LAYOUT.mask_id] = old.embedding.ids.weight[there.mask_id]


def _loss(model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The loss of one kind of practice, drawn by chance, each segment at a time of its own."""
    shares = torch.tensor(list(PRACTICE.values()))
    names = list(PRACTICE)[torch.multinomial(shares, 1, generator=generator)]
    kept, part, (triple, new) = LAYOUT.tokens(*names), sub_layout(LAYOUT, *names), batch
    x = (triple if "text" in names else new)[:, kept.to(triple.device)]
    weight = balance_segments(part).to(x.device) if "sound" in names else 1.0  # few words stand beside many sounds
    return joint_loss(part, restrict_to_tokens(model, kept), x, generator, token_weight=weight)


@torch.no_grad()
def share_right(x: Tensor, asked: str, fresh: data.Scenes, device: torch.device) -> float:
    """How right the segment `asked` of sequences x (B, 95) is, by readers in which no transformer takes part: the share
    of sentences, or of pictures, that are true in every word; or of words that the judge hears in the wave."""
    said, ids = data.captions(fresh.objects), LAYOUT.unpack(x)[asked].flatten(1)
    if asked == "text":
        return data.true_of(TOKENIZER.decode(ids), fresh.objects).float().mean().item()
    if asked == "picture":
        read = data.read_scenes(VQVAE_COLOURS.load(device).decode(ids), data.ALL_OBJECTS)
        return data.true_of(said, read).float().mean().item()
    mels = speech.VQVAE_SOUND.load(device).decode(ids).cpu()
    waves = torch.cat([to_waves(part) for part in mels.split(50)])
    return 1 - word_error_rate(said, listen(JUDGE_SPEECH.load(device), mels_of(waves).to(device)))


@torch.no_grad()
def score(model: DiT, device: torch.device, count: int) -> dict[str, float]:
    """All six directions on fresh scenes, at the first try; word errors of what it hears; pictures and speech in as few
    steps as the specialists take; and captions that are true after words, speech, picture, words."""
    generator, scores, made = torch.Generator().manual_seed(FRESH), {}, {}
    fresh = data.scenes(count, generator)
    x = triples(fresh, generator, device)
    for given, asked in permutations(LAYOUT.segments, 2):
        made[given, asked] = translate(model, x, given, asked, generator)
        scores[f"{given}_to_{asked}"] = share_right(made[given, asked], asked, fresh, device)
    for name, voices in (("known_voices", data.KNOWN_VOICES), ("unheard_voice", [data.UNHEARD_VOICE])):
        spoken = triples(fresh, generator, device, voices)
        heard = LAYOUT.unpack(tell(model, spoken, ("sound",), "text", generator))["text"]
        scores[f"word_error_{name}"] = word_error_rate(data.captions(fresh.objects), TOKENIZER.decode(heard))
    for asked in ("picture", "sound"):  # with the settings of the specialists, to compare
        hurried = torch.Generator().manual_seed(FRESH + 1)
        short = tell(model, x, ("text",), asked, hurried, GUIDANCE, 16)
        scores[f"text_to_{asked}_in_16_steps"] = share_right(short, asked, fresh, device)
    drawn = translate(model, made["text", "sound"], "sound", "picture", generator)
    described = translate(model, drawn, "picture", "text", generator)
    return scores | {"text_to_sound_to_picture_to_text": share_right(described, "text", fresh, device)}


ANY_TO_ANY = Shipped(
    name="any_to_any",
    about="one diffusion transformer for words, pictures and speech: 7 words, 36 tokens of vqvae_colours and 52 of "
    "vqvae_sound; it starts from joint_scenes",
    build=_build,
    examples=_train_triples,
    loss=_loss,
    score=score,
    settings={"steps": 10_000, "lr": 1e-3, "seed": 0, "ema_decay": 0.999},
    batch=64,
    at_least={
        "text_to_picture": 0.85,
        "text_to_sound": 0.82,
        "picture_to_text": 0.93,
        "picture_to_sound": 0.82,
        "sound_to_text": 0.93,
        "sound_to_picture": 0.85,
    },
    at_most={"word_error_known_voices": 0.03},
    needs=(VQVAE_COLOURS, speech.VQVAE_SOUND),
    starts_from=(scenes.JOINT_SCENES,),
    start=take_over_joint_scenes,
    learned_from="the course's spoken words, and scenes that it draws itself",
    count=500,
)

MODELS = (VQVAE_COLOURS, ANY_TO_ANY)
