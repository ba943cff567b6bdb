"""The shipped models: what each is, how to load it, and how to ask it."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from vqdit_lite import checkpoints, data, motion, sound
from vqdit_lite.autoencoder import VQVAE, Encoder, LatentSpace
from vqdit_lite.gaussian import GaussianDiffusion, guided
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.multimodal import Layout, Segment, TokenEmbedding
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.schedule import flow, linear, time_grid
from vqdit_lite.text import Tokenizer
from vqdit_lite.transformer import DiT, sincos_grid, unpatchify

SHIPPED = data.SHIPPED / "checkpoints"

# ---------------------------------------------------------------- words, layouts, diffusions

DIFFUSION = GaussianDiffusion(flow(), predict="flow")  # of all shipped denoisers of latents
MASKED_SCENES, MASKED_MNIST = (MaskedDiffusion(linear(), mask_id, "bounded") for mask_id in (64, 128))
GUIDANCE = 2.0  # scale at which masked models are asked

WORDS = Tokenizer(data.CAPTION_WORDS)  # of the captions of scenes
LAYOUT = Layout(Segment("text", len(WORDS), (7,)), Segment("picture", 64, (6, 6)))

SPOKEN = Tokenizer(sound.SPOKEN_WORDS)
SPEECH = Layout(Segment("text", len(SPOKEN), (7,)), Segment("sound", 512, (sound.FRAMES // 4,)))

CLIP_WORDS = Tokenizer(motion.CLIP_WORDS)
PIECES = ("start", "first", "second", "end")  # a still, four frames, four frames, a still
FILM = Layout(
    Segment("text", len(CLIP_WORDS), (9,)), *(Segment(piece, 1024, (6, 6), alphabet="codes") for piece in PIECES)
)

ANY_WORDS = Tokenizer((*data.CAPTION_WORDS, data.NEW_COLOUR))  # the last one is there, but was never used
ANY = Layout(
    Segment("text", len(ANY_WORDS), (7,)),
    Segment("picture", 80, (6, 6)),
    Segment("sound", 512, (sound.FRAMES // 4,)),
)

TASKS = {  # of a clip: what is given, and what is filled in; what is in neither stays hidden
    "still": (("text",), ("start",)),
    "animated": (("text", "start"), ("first", "second", "end")),
    "between": (("start", "end"), ("text", "first", "second")),
    "continued": (("start", "first"), ("text", "second", "end")),
    "captions": (PIECES, ("text",)),
}


def diffusion_of(layout: Layout) -> MaskedDiffusion:
    """The masked diffusion with which models of a layout were trained and are asked."""
    return MaskedDiffusion(linear(), layout.mask_id, "bounded")


# ---------------------------------------------------------------- what they are


def _vqvae_scenes() -> VQVAE:
    return VQVAE((3, 24, 24), VectorQuantizer(num_codes=64, dim=8, decay=0.97), width=64)


def _vqvae_mnist() -> VQVAE:
    return VQVAE((1, 32, 32), VectorQuantizer(num_codes=128, dim=8, decay=0.97), width=64)


def _judge_mnist() -> nn.Module:
    return nn.Sequential(Encoder(channels=1, width=32, dim=32), nn.Flatten(), nn.Dropout(), nn.Linear(64 * 32, 10))


def _dit_digits() -> DiT:
    return DiT(nn.Linear(4, 64), 4, sincos_grid(4, 4, 64), depth=4, heads=4, num_classes=10)


def _dit_scenes() -> DiT:
    return DiT(nn.Linear(32, 128), 32, sincos_grid(3, 3, 128), depth=4, heads=4, num_classes=12)


def _dit_mnist() -> DiT:
    return DiT(nn.Linear(32, 128), 32, sincos_grid(4, 4, 128), depth=4, heads=4, num_classes=10)


def _masked_scenes() -> DiT:
    return DiT(nn.Embedding(65, 128), 64, sincos_grid(6, 6, 128), depth=4, heads=4, num_classes=12)


def _masked_mnist() -> DiT:
    return DiT(nn.Embedding(129, 128), 128, sincos_grid(8, 8, 128), depth=4, heads=4, num_classes=10)


def _joint_scenes() -> DiT:
    embedding = TokenEmbedding(LAYOUT, 128, picture=load("vqvae_scenes").quantizer.codebook)
    return DiT(embedding, LAYOUT.vocabulary, LAYOUT.positions(128), depth=4, heads=4)


def _vqvae_sound() -> VQVAE:
    return VQVAE((sound.BANDS, sound.FRAMES), VectorQuantizer(num_codes=512, dim=16, decay=0.97), width=128)


def _judge_speech() -> nn.Module:
    encoder = Encoder(channels=sound.BANDS, width=128, dim=128, sides=1)
    return nn.Sequential(encoder, nn.ReLU(), nn.Dropout(), nn.Linear(128, len(SPOKEN)))  # (B, frames / 4, words + 1)


def _joint_speech() -> DiT:
    embedding = TokenEmbedding(SPEECH, 128, sound=load("vqvae_sound").quantizer.codebook)
    return DiT(embedding, SPEECH.vocabulary, SPEECH.positions(128), depth=4, heads=4)


def _vqvae_clips() -> VQVAE:
    return VQVAE((3, 4, 24, 24), VectorQuantizer(num_codes=1024, dim=16, decay=0.97), width=64)


def _vqvae_frames() -> VQVAE:
    return VQVAE((3, 24, 24), VectorQuantizer(num_codes=256, dim=8, decay=0.97), width=64)


def _joint_clips() -> DiT:
    embedding = TokenEmbedding(FILM, 128, start=load("vqvae_clips").quantizer.codebook)  # all pieces share its ids
    return DiT(embedding, FILM.vocabulary, FILM.positions(128), depth=4, heads=4)


def _vqvae_colours() -> VQVAE:
    return VQVAE((3, 24, 24), VectorQuantizer(num_codes=80, dim=8, decay=0.97), width=64)


def _any_to_any() -> DiT:
    codebooks = {"picture": load("vqvae_colours").quantizer.codebook, "sound": load("vqvae_sound").quantizer.codebook}
    return DiT(TokenEmbedding(ANY, 128, **codebooks), ANY.vocabulary, ANY.positions(128), depth=4, heads=4)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "vqvae_scenes": _vqvae_scenes,
    "judge_mnist": _judge_mnist,
    "vqvae_mnist": _vqvae_mnist,
    "dit_digits": _dit_digits,
    "dit_scenes": _dit_scenes,
    "dit_mnist": _dit_mnist,
    "masked_scenes": _masked_scenes,
    "masked_mnist": _masked_mnist,
    "joint_scenes": _joint_scenes,
    "vqvae_sound": _vqvae_sound,
    "judge_speech": _judge_speech,
    "joint_speech": _joint_speech,
    "vqvae_clips": _vqvae_clips,
    "vqvae_frames": _vqvae_frames,
    "joint_clips": _joint_clips,
    "vqvae_colours": _vqvae_colours,
    "any_to_any": _any_to_any,
}


def build(name: str) -> nn.Module:
    """A model as it was before training, with random weights."""
    if name not in BUILDERS:
        raise ValueError(f"There is no checkpoint {name!r}; there are: {', '.join(BUILDERS)}.")
    return BUILDERS[name]()


def load(name: str, device: torch.device | str = "cpu", folder: str | Path = SHIPPED) -> nn.Module:
    """A shipped model with its weights, in evaluation mode.

    >>> load("vqvae_scenes").encode(torch.rand(1, 3, 24, 24)).shape
    torch.Size([1, 36])
    """
    model = build(name)
    checkpoints.load(Path(folder) / f"{name}.safetensors", model)
    return model.to(device).eval()


def card(name: str) -> str:
    """The model card of a shipped checkpoint, as text."""
    return json.dumps(checkpoints.read_card(SHIPPED / f"{name}.safetensors"), indent=2, ensure_ascii=False)


# ---------------------------------------------------------------- pictures from latents, and from tokens


def latents(name: str, pictures: Tensor, device: torch.device) -> Tensor:
    """Pictures as tokens in the latent space of a shipped VQ-VAE, a thousand at a time."""
    space = LatentSpace(load(name, device))
    return torch.cat([space.encode(part.to(device)) for part in pictures.split(1000)])


def draw(model: DiT, labels: Tensor, scale: float, generator: torch.Generator, steps: int = 20) -> Tensor:
    """Tokens (B, N, features) of new pictures with the given labels, by guided sampling."""
    noise = torch.randn(len(labels), len(model.positions), model.head.out_features, generator=generator)
    denoiser = guided(partial(model, labels=labels), model, scale)
    *_, x = DIFFUSION.sample(denoiser, noise.to(labels.device), time_grid(steps))
    return x


def as_digits(tokens: Tensor) -> Tensor:
    """Patches (B, 16, 4) as pictures (B, 1, 8, 8), cut to [-1, 1], on the CPU."""
    return unpatchify(tokens, 2, (4, 4)).clamp(-1, 1).cpu()


def tokens(name: str, pictures: Tensor, device: torch.device) -> Tensor:
    """Pictures, or sounds, as ids (B, N) of a shipped VQ-VAE, a thousand at a time."""
    model = load(name, device)
    return torch.cat([model.encode(part.to(device)) for part in pictures.split(1000)])


def draw_tokens(
    diffusion: MaskedDiffusion, model: DiT, labels: Tensor, scale: float, generator: torch.Generator, steps: int = 16
) -> Tensor:
    """ids (B, N) of new pictures with the given labels, by guided sampling in the order of confidence."""
    start = torch.full((len(labels), len(model.positions)), diffusion.mask_id, device=labels.device)
    denoiser = guided(partial(model, labels=labels), model, scale)
    times = time_grid(steps, "cosine")
    *_, x = diffusion.sample(denoiser, start, times, "confidence", generator=generator, randomness=1.0)
    return x


# ---------------------------------------------------------------- sequences of several modalities


def fill_in(
    layout: Layout,
    model: DiT,
    x: Tensor,
    frozen: Tensor,
    generator: torch.Generator,
    steps: int,
    scale: float = 1.0,
    condition: tuple[str, ...] = (),
    temperature: float = 1.0,
) -> Tensor:
    """Sequences (B, N) of a layout, with all that is not frozen filled in by a joint model, surest tokens first.

    Guidance of `scale` leads away from what the model would say without the segments named in `condition`.
    """
    denoiser = guided(layout.denoiser(model), layout.denoiser(model, hide=condition), scale)
    times = time_grid(steps, "cosine")
    *_, x = diffusion_of(layout).sample(
        denoiser,
        x,
        times,
        "confidence",
        generator=generator,
        frozen=frozen,
        temperature=temperature,
        randomness=1.0,
    )
    return x


def answer(
    layout: Layout,
    model: DiT,
    x: Tensor,
    given: tuple[str, ...],
    asked: tuple[str, ...],
    generator: torch.Generator,
    scale: float = GUIDANCE,
    steps: int = 16,
    temperature: float = 1.0,
    randomness: float = 1.0,
) -> Tensor:
    """Sequences (B, N) in which the segments `asked` are filled in from those `given`; all others are hidden.

    Guidance of `scale` leads away from what the model would say if nothing were given. Give x as a sequence in which
    the given segments are known.
    """
    device, idle = x.device, tuple(name for name in layout.segments if name not in given + asked)
    sought, known = layout.tokens(*asked).to(device), layout.tokens(*given).to(device)
    denoiser = guided(layout.denoiser(model, idle), layout.denoiser(model, (*idle, *given)), scale)
    *_, filled = diffusion_of(layout).sample(
        denoiser,
        x.masked_fill(layout.tokens(*idle).to(device), 0),  # never seen: a frozen token needs some id
        time_grid(min(steps, sought.sum().item()), "cosine"),
        "confidence",
        generator=generator,
        frozen=~sought,
        temperature=temperature,
        randomness=randomness,
    )
    return filled.where(sought | known, layout.mask_id)


def checked(
    x: Tensor, make: Callable[[Tensor], Tensor], describe: Callable[[Tensor], Tensor], words: Tensor, tries: int
) -> Tensor:
    """Sequences (B, N) that `make` makes from the words in x, the tokens (N,) that are true. Where a model's own words
    for what it made, by `describe`, are not those that were asked for, it tries again."""
    made, left, words = x.clone(), torch.arange(len(x), device=x.device), words.to(x.device)
    for attempt in range(1, tries + 1):
        made[left] = make(x[left])
        if attempt < tries:
            left = left[(describe(made[left]) != made[left])[:, words].any(1)]
        if len(left) == 0:
            break
    return made


def pairs(scenes: data.Scenes, device: torch.device) -> Tensor:
    """Scenes as sequences (B, 43): their captions' words, then the tokens of their pictures."""
    text = WORDS.encode(data.captions(scenes.objects), 7)
    return LAYOUT.pack(text=text.to(device), picture=tokens("vqvae_scenes", scenes.pictures, device))


def left_half() -> Tensor:
    """The words and the left half of the picture's tokens, (43,) true or false."""
    column = torch.arange(LAYOUT.length) - 7
    return LAYOUT.tokens("text") | (LAYOUT.tokens("picture") & (column % 6 < 3))


def log_likelihoods(model: DiT, x: Tensor, given: str, draws: int) -> Tensor:
    """log p(the other segment | the segment `given`) of every pairing, (B, B), from sequences x (B, 43), in nats.

    Row i holds what is asked about in row i of x; column j the condition from row j. All share their masks.
    """
    frozen = LAYOUT.tokens(given).to(x.device)
    columns = []
    for row in x:
        paired = row.where(frozen, x)  # (B, 43)
        shared = torch.Generator().manual_seed(0)
        columns.append(-diffusion_of(LAYOUT).nelbo(LAYOUT.denoiser(model), paired, shared, draws, frozen=frozen))
    return torch.stack(columns, 1)


# ---------------------------------------------------------------- speech


class Speech(NamedTuple):
    """Spoken sentences and what they look like."""

    sentences: list[str]
    mels: Tensor  # (B, bands, frames)


def mels_of(waves: Tensor) -> Tensor:
    """Waves (B, samples) as spectrograms (B, bands, frames), 500 at a time."""
    return torch.cat([sound.log_mel(part) for part in waves.split(500)])


def spoken_sequences(spoken: Speech, device: torch.device) -> Tensor:
    """Spoken sentences as sequences (B, 59): words, then the tokens of their sound."""
    return SPEECH.pack(
        text=SPOKEN.encode(spoken.sentences, 7).to(device), sound=tokens("vqvae_sound", spoken.mels, device)
    )


def listen(judge: nn.Module, mels: Tensor) -> list[str]:
    """What the judge of speech hears in spectrograms (B, bands, frames): each frame's likeliest word, runs as one."""
    frames = torch.cat([judge(part).argmax(-1) for part in mels.split(500)])  # (B, frames / 4)
    heard = (row[row > 0] for row in (frame.unique_consecutive() for frame in frames))
    return [" ".join(SPOKEN.symbols[k] for k in row) for row in heard]


def say(model: DiT, sentences: Sequence[str], generator: torch.Generator, device: torch.device) -> Tensor:
    """Waves (B, samples) in which a joint model of speech says sentences, on the CPU."""
    x = SPEECH.pack(text=SPOKEN.encode(sentences, 7).to(device))
    x = fill_in(SPEECH, model, x, SPEECH.tokens("text"), generator, 16, GUIDANCE, ("text",), temperature=0.6)
    mels = load("vqvae_sound", device).decode(SPEECH.unpack(x)["sound"])
    return torch.cat([sound.to_waves(part) for part in mels.cpu().split(50)])


def heard_digits(model: DiT, waves: Sequence[Tensor], device: torch.device) -> Tensor:
    """Which digits (B,) people say, one a wave: the likeliest first word of ten, over four starts 20 ms apart."""
    digits = torch.tensor([SPOKEN.numbers[digit] for digit in sound.DIGITS], device=device)
    scores = torch.zeros(len(waves), len(digits), device=device)
    for start in (80, 240, 400, 560):  # samples: within a token of 640, so that each time tokens fall differently
        later = torch.stack([sound.fit_length(F.pad(wave, (start, 0))) for wave in waves])
        x = SPEECH.pack(sound=tokens("vqvae_sound", mels_of(later), device))
        logits = SPEECH.denoiser(model)(x, torch.ones(len(x), device=device))  # (B, 59, V)
        scores += logits[:, 0].log_softmax(-1)[:, digits]
    return scores.argmax(1).cpu()


# ---------------------------------------------------------------- any to any


def excerpt(model: DiT, tokens: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """A model of a layout, as a model of the tokens (N,) that are true: the rest of the sequence is not there at all,
    which costs less than to hide it."""
    tokens = tokens.to(model.positions.device)
    kept = {"positions": model.positions[tokens], "embedding.segment": model.embedding.segment[tokens]}
    return lambda x, t: functional_call(model, kept, (x, t))


class Asking(NamedTuple):
    """How a segment is best asked for."""

    steps: int
    scale: float  # of guidance
    temperature: float
    randomness: float  # of the order in which tokens are filled in


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
    kept, best = ANY.tokens(*given, asked).to(x.device), ASKING[asked]
    filled = torch.full_like(x, ANY.mask_id)
    filled[:, kept] = answer(
        ANY.only(*given, asked),
        excerpt(model, kept),
        x[:, kept],
        given,
        (asked,),
        generator,
        best.scale if scale is None else scale,
        steps or best.steps,
        best.temperature,
        best.randomness,
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
    return checked(
        x,
        lambda rows: tell(model, rows, ("text",), asked, generator, scale, steps),
        lambda rows: tell(model, rows, (asked,), "text", generator),
        ANY.tokens("text"),
        tries,
    )


# ---------------------------------------------------------------- clips


def pieces_of(frames: Tensor) -> Tensor:
    """Clips (B, 3, 8, 24, 24) as four pieces each, (B, 4, 3, 4, 24, 24): the first frame as a still, both halves, and
    the last frame as a still. A still is a picture that stays for four frames."""
    first, last = (frame.expand(-1, -1, 4, -1, -1) for frame in (frames[:, :, :1], frames[:, :, -1:]))
    return torch.stack([first, frames[:, :, :4], frames[:, :, 4:], last], 1)


def joined(halves: Tensor) -> Tensor:
    """Halves (2 · B, 3, 4, 24, 24), one after the other, as clips (B, 3, 8, 24, 24)."""
    return halves.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2, 3)


def frames_of(clips: Tensor) -> Tensor:
    """Clips (B, 3, 8, 24, 24) as pictures (B · 8, 3, 24, 24)."""
    return clips.transpose(1, 2).flatten(0, 1)


def film(clips: motion.Clips, device: torch.device) -> Tensor:
    """Clips as sequences (B, 153): the words of their captions, then the tokens of their four pieces."""
    text = CLIP_WORDS.encode(motion.clip_captions(clips.tracks), 9)
    ids = tokens("vqvae_clips", pieces_of(clips.frames).flatten(0, 1), device).unflatten(0, (-1, 4))  # (B, 4, 36)
    return FILM.pack(text=text.to(device), **dict(zip(PIECES, ids.unbind(1), strict=True)))


def clips_in(x: Tensor, device: torch.device) -> Tensor:
    """The clips (B, 3, 8, 24, 24) that sequences (B, 153) hold, on the CPU."""
    parts = FILM.unpack(x)
    halves = torch.stack([parts["first"], parts["second"]], 1).flatten(0, 1).flatten(1)  # (2 · B, 36)
    model = load("vqvae_clips", device)
    return joined(torch.cat([model.decode(part) for part in halves.split(500)]).cpu())


def clips_from_words(model: DiT, x: Tensor, generator: torch.Generator, tries: int = 3) -> Tensor:
    """Sequences (B, 153) made from the words in x: first the still, then the rest; checked by the model's captions."""

    def make(rows: Tensor) -> Tensor:
        return answer(FILM, model, answer(FILM, model, rows, *TASKS["still"], generator), *TASKS["animated"], generator)

    def describe(rows: Tensor) -> Tensor:
        return answer(FILM, model, rows, *TASKS["captions"], generator)

    return checked(x, make, describe, FILM.tokens("text"), tries)
