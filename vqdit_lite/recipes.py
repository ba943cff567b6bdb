"""The shipped checkpoints: how each was made, and how to load it."""

import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from sklearn.svm import SVC
from torch import Tensor, nn

from vqdit_lite import checkpoints, data, motion, sound
from vqdit_lite.autoencoder import VQVAE, Encoder, LatentSpace
from vqdit_lite.gaussian import GaussianDiffusion, guided
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.metrics import edit_distance, frechet_distance, psnr, recall_at, usage
from vqdit_lite.multimodal import Layout, Segment, TokenEmbedding
from vqdit_lite.quantize import VectorQuantizer
from vqdit_lite.schedule import flow, linear, time_grid
from vqdit_lite.text import Tokenizer
from vqdit_lite.training import batches, fit
from vqdit_lite.transformer import DiT, patchify, sincos_grid, unpatchify

SHIPPED = data.SHIPPED / "checkpoints"


DIFFUSION = GaussianDiffusion(flow(), predict="flow")  # of all shipped denoisers of latents
SCENES_SHOWN, MNIST_SHOWN, DIGITS_SHOWN = 30_000, 9_000, 1_347  # how many examples each recipe learns from
PAIRS_SHOWN = 100_000  # scenes with captions

WORDS = Tokenizer(data.CAPTION_WORDS)
LAYOUT = Layout(Segment("text", len(WORDS), (7,)), Segment("picture", 64, (6, 6)))
MASKED_SCENES, MASKED_MNIST = (MaskedDiffusion(linear(), mask_id, "bounded") for mask_id in (64, 128))
GUIDANCE = 2.0  # scale at which masked models are asked

SPOKEN = Tokenizer(sound.SPOKEN_WORDS)
SPEECH = Layout(Segment("text", len(SPOKEN), (7,)), Segment("sound", 512, (sound.FRAMES // 4,)))
SPEECH_SHOWN = 100_000  # spoken sentences

CLIP_WORDS = Tokenizer(motion.CLIP_WORDS)
PIECES = ("start", "first", "second", "end")  # a still, four frames, four frames, a still
FILM = Layout(
    Segment("text", len(CLIP_WORDS), (9,)), *(Segment(piece, 1024, (6, 6), alphabet="codes") for piece in PIECES)
)
CLIPS_SHOWN = 60_000


class Recipe(NamedTuple):
    """All it takes to make a checkpoint again."""

    about: str
    build: Callable[[], nn.Module]
    learns_from: Callable[[torch.Generator, torch.device], Any]  # tensors of examples, row by row
    loss: Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]
    scores: Callable[[nn.Module, torch.device], dict[str, float]]
    settings: dict[str, Any]  # for `fit`
    batch: int
    learned_from: str = "data that the course draws itself"


# ---------------------------------------------------------------- VQ-VAEs


def _vqvae_scenes() -> VQVAE:
    return VQVAE((3, 24, 24), VectorQuantizer(num_codes=64, dim=8, decay=0.97), width=64)


def _vqvae_mnist() -> VQVAE:
    return VQVAE((1, 32, 32), VectorQuantizer(num_codes=128, dim=8, decay=0.97), width=64)


@torch.no_grad()
def score_vqvae_scenes(model: VQVAE, device: torch.device, count: int = 2000) -> dict[str, float]:
    """PSNR, use of the codebook and share of scenes that read the same after coding, on fresh scenes."""
    fresh = data.scenes(count, torch.Generator().manual_seed(1_000_000))
    ids = model.encode(fresh.pictures.to(device))
    decoded = model.decode(ids).cpu()
    same = (data.read_scenes(decoded) == fresh.objects).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, fresh.pictures), "codes_used": used, "scenes_read_right": same}


@torch.no_grad()
def score_vqvae_mnist(model: VQVAE, device: torch.device) -> dict[str, float]:
    """PSNR, use of the codebook and share of held-out digits that the judge reads right after coding."""
    held_out, labels = (part[MNIST_SHOWN:].to(device) for part in data.picture_set("mnist", "test"))
    ids = model.encode(held_out)
    decoded = model.decode(ids)
    right = (load("judge_mnist", device)(decoded).argmax(1) == labels).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, held_out), "codes_used": used, "digits_read_right": right}


# ---------------------------------------------------------------- a judge of MNIST


def _judge_mnist() -> nn.Module:
    return nn.Sequential(Encoder(channels=1, width=32, dim=32), nn.Flatten(), nn.Dropout(), nn.Linear(64 * 32, 10))


def _loss_of_judge(model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    pictures, labels = batch
    return {"loss": F.cross_entropy(model(pictures), labels)}


@torch.no_grad()
def score_judge_mnist(model: nn.Module, device: torch.device) -> dict[str, float]:
    """The share of the held-out digits that the judge reads right."""
    held_out, labels = (part[MNIST_SHOWN:].to(device) for part in data.picture_set("mnist", "test"))
    return {"digits_read_right": (model(held_out).argmax(1) == labels).float().mean().item()}


def _mnist(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.picture_set("mnist", "test")
    return pictures[:MNIST_SHOWN].to(device), labels[:MNIST_SHOWN].to(device)


# ---------------------------------------------------------------- diffusion transformers


def digits_split() -> tuple[data.Pictures, data.Pictures]:
    """The 8 × 8 digits in a fixed order by chance: 1,347 to learn from, 450 held out; pixels in [-1, 1]."""
    pictures, labels = data.digits()
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    shown, held_out = order[:DIGITS_SHOWN], order[DIGITS_SHOWN:]
    return tuple(data.Pictures(2 * pictures[part] - 1, labels[part]) for part in (shown, held_out))


def judge_digits() -> SVC:
    """A classifier of 8 × 8 digits (a support vector machine on the 64 pixels) that shares nothing with a DiT."""
    pictures, labels = digits_split()[0]
    return SVC(C=5).fit(pictures.flatten(1).numpy(), labels.numpy())


def _dit_digits() -> DiT:
    return DiT(nn.Linear(4, 64), 4, sincos_grid(4, 4, 64), depth=4, heads=4, num_classes=10)


def _dit_scenes() -> DiT:
    return DiT(nn.Linear(32, 128), 32, sincos_grid(3, 3, 128), depth=4, heads=4, num_classes=12)


def _dit_mnist() -> DiT:
    return DiT(nn.Linear(32, 128), 32, sincos_grid(4, 4, 128), depth=4, heads=4, num_classes=10)


def _digits_as_patches(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = digits_split()[0]
    return patchify(pictures, 2).to(device), labels.to(device)  # (1347, 16, 4)


def latents(name: str, pictures: Tensor, device: torch.device) -> Tensor:
    """Pictures as tokens in the latent space of a shipped VQ-VAE, a thousand at a time."""
    space = LatentSpace(load(name, device))
    return torch.cat([space.encode(part.to(device)) for part in pictures.split(1000)])


def _scenes_as_latents(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.single_scenes(SCENES_SHOWN, generator)
    return latents("vqvae_scenes", pictures, device), labels.to(device)


def _mnist_as_latents(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = _mnist(generator, torch.device("cpu"))
    return latents("vqvae_mnist", pictures, device), labels.to(device)


def _loss_of_dit(model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    x0, labels = batch
    return DIFFUSION.loss(model, x0, generator, labels=labels)


def draw(model: DiT, labels: Tensor, scale: float, generator: torch.Generator, steps: int = 20) -> Tensor:
    """Tokens (B, N, features) of new pictures with the given labels, by guided sampling."""
    noise = torch.randn(len(labels), len(model.positions), model.head.out_features, generator=generator)
    denoiser = guided(partial(model, labels=labels), model, scale)
    *_, x = DIFFUSION.sample(denoiser, noise.to(labels.device), time_grid(steps))
    return x


def _asked(classes: int, device: torch.device) -> tuple[Tensor, torch.Generator]:
    return torch.arange(1000, device=device) % classes, torch.Generator().manual_seed(1_000_000)


def score_dit_digits(model: DiT, device: torch.device) -> dict[str, float]:
    """Right labels at guidance 1.5, and the Fréchet distance to held-out digits over that of real ones, unguided."""
    labels, generator = _asked(10, device)
    shown, held_out = digits_split()
    read = judge_digits().predict(as_digits(draw(model, labels, 1.5, generator)).flatten(1).numpy())
    right = (torch.as_tensor(read) == labels.cpu()).float().mean().item()
    free = as_digits(draw(model, labels, 1.0, generator)).flatten(1)
    return {"labels_right": right, "frechet_over_real": frechet_over_real(free, shown, held_out)}


def as_digits(tokens: Tensor) -> Tensor:
    """Patches (B, 16, 4) as pictures (B, 1, 8, 8), cut to [-1, 1], on the CPU."""
    return unpatchify(tokens, 2, (4, 4)).clamp(-1, 1).cpu()


def frechet_over_real(made: Tensor, shown: data.Pictures, held_out: data.Pictures) -> float:
    """The Fréchet distance of made digits (B, 64) to held-out ones, over that of as many real ones (the floor)."""
    real = held_out.pictures.flatten(1)
    sets = shown.pictures.flatten(1).split(len(real))[:2]
    floor = sum(frechet_distance(part, real) for part in sets) / len(sets)
    parts = made.split(len(real))[:2]
    return sum(frechet_distance(part, real) for part in parts) / len(parts) / floor


def score_dit_scenes(model: DiT, device: torch.device) -> dict[str, float]:
    """The share of 1,000 drawings with exactly one object, of the shape and colour asked for, at guidance 2."""
    labels, generator = _asked(12, device)
    pictures = LatentSpace(load("vqvae_scenes", device)).decode(draw(model, labels, 2.0, generator))
    return {"labels_right": (data.read_labels(pictures) == labels.cpu()).float().mean().item()}


@torch.no_grad()
def score_dit_mnist(model: DiT, device: torch.device) -> dict[str, float]:
    """The share of 1,000 drawings in which the judge reads the digit asked for, at guidance 2."""
    labels, generator = _asked(10, device)
    pictures = LatentSpace(load("vqvae_mnist", device)).decode(draw(model, labels, 2.0, generator))
    return {"labels_right": (load("judge_mnist", device)(pictures).argmax(1) == labels).float().mean().item()}


# ---------------------------------------------------------------- masked diffusion


def _masked_scenes() -> DiT:
    return DiT(nn.Embedding(65, 128), 64, sincos_grid(6, 6, 128), depth=4, heads=4, num_classes=12)


def _masked_mnist() -> DiT:
    return DiT(nn.Embedding(129, 128), 128, sincos_grid(8, 8, 128), depth=4, heads=4, num_classes=10)


def _joint() -> DiT:
    embedding = TokenEmbedding(LAYOUT, 128, picture=load("vqvae_scenes").quantizer.codebook)
    return DiT(embedding, LAYOUT.vocabulary, LAYOUT.positions(128), depth=4, heads=4)


def tokens(name: str, pictures: Tensor, device: torch.device) -> Tensor:
    """Pictures, or sounds, as ids (B, N) of a shipped VQ-VAE, a thousand at a time."""
    model = load(name, device)
    return torch.cat([model.encode(part.to(device)) for part in pictures.split(1000)])


def _scenes_as_tokens(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.single_scenes(SCENES_SHOWN, generator)
    return tokens("vqvae_scenes", pictures, device), labels.to(device)


def _mnist_as_tokens(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = _mnist(generator, torch.device("cpu"))
    return tokens("vqvae_mnist", pictures, device), labels.to(device)


def pairs(scenes: data.Scenes, device: torch.device) -> Tensor:
    """Scenes as sequences (B, 43): their captions' words, then the tokens of their pictures."""
    text = WORDS.encode(data.captions(scenes.objects), 7)
    return LAYOUT.pack(text=text.to(device), picture=tokens("vqvae_scenes", scenes.pictures, device))


def _pairs_shown(generator: torch.Generator, device: torch.device) -> Tensor:
    return pairs(data.scenes(PAIRS_SHOWN, generator), device)


def _loss_of_masked(diffusion: MaskedDiffusion) -> Callable:
    def loss(model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        x0, labels = batch
        return diffusion.loss(model, x0, generator, labels=labels)

    return loss


def diffusion_of(layout: Layout) -> MaskedDiffusion:
    return MaskedDiffusion(linear(), layout.mask_id, "bounded")


def loss_of_joint(layout: Layout) -> Callable:
    """The loss of sequences (B, N) of a layout, each segment at a time of its own."""

    def loss(model: DiT, x0: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        t = layout.times(len(x0), generator)
        return diffusion_of(layout).loss(layout.denoiser(model), x0, generator, t=t)

    return loss


def draw_tokens(
    diffusion: MaskedDiffusion, model: DiT, labels: Tensor, scale: float, generator: torch.Generator, steps: int = 16
) -> Tensor:
    """ids (B, N) of new pictures with the given labels, by guided sampling in the order of confidence."""
    start = torch.full((len(labels), len(model.positions)), diffusion.mask_id, device=labels.device)
    denoiser = guided(partial(model, labels=labels), model, scale)
    times = time_grid(steps, "cosine")
    *_, x = diffusion.sample(denoiser, start, times, "confidence", generator=generator, randomness=1.0)
    return x


@torch.no_grad()
def score_masked_scenes(model: DiT, device: torch.device) -> dict[str, float]:
    """The share of 1,000 drawings with exactly one object, of the shape and colour asked for, at guidance 2."""
    labels, generator = _asked(12, device)
    pictures = load("vqvae_scenes", device).decode(draw_tokens(MASKED_SCENES, model, labels, GUIDANCE, generator))
    return {"labels_right": (data.read_labels(pictures) == labels.cpu()).float().mean().item()}


@torch.no_grad()
def score_masked_mnist(model: DiT, device: torch.device) -> dict[str, float]:
    """The share of 1,000 drawings in which the judge reads the digit asked for, at guidance 2."""
    labels, generator = _asked(10, device)
    pictures = load("vqvae_mnist", device).decode(draw_tokens(MASKED_MNIST, model, labels, GUIDANCE, generator))
    return {"labels_right": (load("judge_mnist", device)(pictures).argmax(1) == labels).float().mean().item()}


def fill_in(
    layout: Layout,
    model: DiT,
    x: Tensor,
    frozen: Tensor,
    generator: torch.Generator,
    steps: int,
    scale: float = 1.0,
    condition: tuple[str, ...] = (),
) -> Tensor:
    """Sequences (B, N) of a layout, with all that is not frozen filled in by a joint model, surest tokens first.

    Guidance of `scale` leads away from what the model would say without the segments named in `condition`.
    """
    denoiser = guided(layout.denoiser(model), layout.denoiser(model, hide=condition), scale)
    times = time_grid(steps, "cosine")
    *_, x = diffusion_of(layout).sample(
        denoiser, x, times, "confidence", generator=generator, frozen=frozen, randomness=1.0
    )
    return x


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


def left_half() -> Tensor:
    """The words and the left half of the picture's tokens, (43,) true or false."""
    column = torch.arange(LAYOUT.length) - 7
    return LAYOUT.tokens("text") | (LAYOUT.tokens("picture") & (column % 6 < 3))


@torch.no_grad()
def score_joint(model: DiT, device: torch.device, count: int = 1000) -> dict[str, float]:
    """Right captions, pictures, finished pictures, and recall@1 among 16, on fresh scenes."""
    generator = torch.Generator().manual_seed(1_000_000)
    fresh = data.scenes(count, generator)
    said, x = data.captions(fresh.objects), pairs(fresh, device)
    words, picture = LAYOUT.tokens("text"), LAYOUT.tokens("picture")

    def share_true(sentences, objects):
        return data.true_of(sentences, objects).float().mean().item()

    def drawn(x):
        return data.read_scenes(load("vqvae_scenes", device).decode(LAYOUT.unpack(x)["picture"].flatten(1)))

    captioned = fill_in(LAYOUT, model, x, picture, generator, steps=7)
    sentences = WORDS.decode(LAYOUT.unpack(captioned)["text"])
    pictures = drawn(fill_in(LAYOUT, model, x, words, generator, steps=16, scale=GUIDANCE, condition=("text",)))
    finished = drawn(fill_in(LAYOUT, model, x, left_half(), generator, steps=16, scale=GUIDANCE, condition=("text",)))
    different = [said.index(sentence) for sentence in dict.fromkeys(said)]  # scenes whose captions differ
    scores = {
        "captions_right": share_true(sentences, fresh.objects),
        "pictures_right": share_true(said, pictures),
        "halves_right": share_true(said, finished),
    }
    for group in torch.tensor(different[:160]).view(10, 16):
        text_given_picture = log_likelihoods(model, x[group], "picture", draws=16)  # (16, 16)
        picture_given_text = log_likelihoods(model, x[group], "text", draws=16)
        for name, table in (
            ("recall_of_captions", picture_given_text),  # row: picture, column: caption
            ("recall_of_pictures", text_given_picture),  # row: caption, column: picture
        ):
            scores[name] = scores.get(name, 0.0) + recall_at(1, table) / 10
    return scores


# ---------------------------------------------------------------- speech


class Speech(NamedTuple):
    """Spoken sentences and what they look like."""

    sentences: list[str]
    mels: Tensor  # (B, bands, frames)


def speech(n: int, generator: torch.Generator) -> Speech:
    """Sentences to learn from: a half digits by people, mostly one; the rest captions, and some digits, by machines."""
    people = sound.spoken_digits("train")
    spoken = _lists(range(len(people.waves)), n // 2, 4, generator)
    spoken = [numbers[:1] if k % 3 else numbers for k, numbers in enumerate(spoken)]
    said = [" ".join(sound.DIGITS[people.labels[k]] for k in numbers) for numbers in spoken]
    waves = [[sound.vary(people.waves[k], generator) for k in numbers] for numbers in spoken]
    strings = [" ".join(digits) for digits in _lists(sound.DIGITS, n // 10, 7, generator)]
    captions = data.captions(data.scenes(n - len(said) - len(strings), generator).objects)
    made = sound.speak(captions + strings, generator)
    return Speech(said + captions + strings, mels_of(torch.cat([sound.arrange(waves, generator), made])))


def _lists(items: Sequence, n: int, longest: int, generator: torch.Generator) -> list[list]:
    """n lists by chance, each of 1 to `longest` items."""
    lengths = torch.randint(1, longest + 1, (n,), generator=generator).tolist()
    return [[items[k] for k in torch.randint(len(items), (length,), generator=generator)] for length in lengths]


def mels_of(waves: Tensor) -> Tensor:
    """Waves (B, samples) as spectrograms (B, bands, frames), 500 at a time."""
    return torch.cat([sound.log_mel(part) for part in waves.split(500)])


def people_shown(split: str, generator: torch.Generator) -> Speech:
    """Real digits, one a sound."""
    people = sound.spoken_digits(split)
    waves = sound.arrange([[wave] for wave in people.waves], generator)
    return Speech([sound.DIGITS[label] for label in people.labels], mels_of(waves))


def captions_shown(n: int, generator: torch.Generator, voices: Sequence[int] = sound.KNOWN_VOICES) -> Speech:
    """Fresh spoken captions."""
    sentences = data.captions(data.scenes(n, generator).objects)
    return Speech(sentences, mels_of(sound.speak(sentences, generator, voices)))


def _vqvae_sound() -> VQVAE:
    return VQVAE((sound.BANDS, sound.FRAMES), VectorQuantizer(num_codes=512, dim=16, decay=0.97), width=128)


@torch.no_grad()
def score_vqvae_sound(model: VQVAE, device: torch.device) -> dict[str, float]:
    """The share of the variance of spectrograms that is kept, and the use of the codebook, on fresh sounds."""
    scores, ids = {}, []
    for name, fresh in fresh_speech().items():
        mels = fresh.mels.to(device)
        ids.append(model.encode(mels))
        left = (model.decode(ids[-1]) - mels).square().mean() / mels.var()
        scores[f"variance_kept_{name}"] = 1 - left.item()
    return scores | {"codes_used": usage(torch.cat(ids), model.quantizer.num_codes)}


def fresh_speech(count: int = 500) -> dict[str, Speech]:
    """What the models of speech are scored on: known voices, the unheard voice, people."""
    generator = torch.Generator().manual_seed(1_000_000)
    return {
        "known_voices": captions_shown(count, generator),
        "unheard_voice": captions_shown(count, generator, [sound.UNHEARD_VOICE]),
        "people": people_shown("test", generator),
    }


def _judge_speech() -> nn.Module:
    encoder = Encoder(channels=sound.BANDS, width=128, dim=128, sides=1)
    return nn.Sequential(encoder, nn.ReLU(), nn.Dropout(), nn.Linear(128, len(SPOKEN)))  # (B, frames / 4, words + 1)


def _mels_and_words(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    shown = speech(16_000, generator)
    return shown.mels.to(device), SPOKEN.encode(shown.sentences, 7).to(device)


def _loss_of_recogniser(
    model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    mels, text = batch
    noisy = mels + 0.05 * torch.randn(mels.shape, generator=generator).to(mels)
    log_p = model(noisy).log_softmax(-1).transpose(0, 1)  # (frames / 4, B, words + 1)
    frames = torch.full((len(mels),), len(log_p))
    return {"loss": F.ctc_loss(log_p, text, frames, (text > 0).sum(1).cpu())}


def listen(judge: nn.Module, mels: Tensor) -> list[str]:
    """What the judge of speech hears in spectrograms (B, bands, frames): each frame's likeliest word, runs as one."""
    frames = torch.cat([judge(part).argmax(-1) for part in mels.split(500)])  # (B, frames / 4)
    heard = (row[row > 0] for row in (frame.unique_consecutive() for frame in frames))
    return [" ".join(SPOKEN.symbols[k] for k in row) for row in heard]


@torch.no_grad()
def score_judge_speech(model: nn.Module, device: torch.device) -> dict[str, float]:
    """The share of words that are misheard, on fresh sounds."""
    return {
        f"word_error_{name}": word_error(fresh.sentences, listen(model, fresh.mels.to(device)))
        for name, fresh in fresh_speech().items()
    }


def word_error(said: Sequence[str], heard: Sequence[str]) -> float:
    """Words to insert, leave out or replace, for each word that was said."""
    pairs = [(one.split(), other.split()) for one, other in zip(said, heard, strict=True)]
    return sum(edit_distance(*pair) for pair in pairs) / sum(len(words) for words, _ in pairs)


def _joint_speech() -> DiT:
    embedding = TokenEmbedding(SPEECH, 128, sound=load("vqvae_sound").quantizer.codebook)
    return DiT(embedding, SPEECH.vocabulary, SPEECH.positions(128), depth=4, heads=4)


def _speech_as_sequences(generator: torch.Generator, device: torch.device) -> Tensor:
    parts = (speech(5000, generator) for _ in range(SPEECH_SHOWN // 5000))
    return torch.cat([spoken_sequences(part, device) for part in parts])


def spoken_sequences(spoken: Speech, device: torch.device) -> Tensor:
    """Spoken sentences as sequences (B, 59): words, then the tokens of their sound."""
    return SPEECH.pack(
        text=SPOKEN.encode(spoken.sentences, 7).to(device), sound=tokens("vqvae_sound", spoken.mels, device)
    )


@torch.no_grad()
def score_joint_speech(model: DiT, device: torch.device) -> dict[str, float]:
    """Word errors of what is heard, of known voices, the unheard one and people; and of what is said, as the judge
    hears it in the wave."""
    generator, scores, fresh = torch.Generator().manual_seed(1_000_000), {}, fresh_speech()
    for name, spoken in fresh.items():
        x = spoken_sequences(spoken, device)
        heard = fill_in(SPEECH, model, x, SPEECH.tokens("sound"), generator, steps=7)
        scores[f"word_error_{name}"] = word_error(spoken.sentences, SPOKEN.decode(SPEECH.unpack(heard)["text"]))
    sentences = fresh["known_voices"].sentences
    said = say(model, sentences, generator, device)
    scores["word_error_of_speech"] = word_error(
        sentences, listen(load("judge_speech", device), mels_of(said).to(device))
    )
    return scores


def say(model: DiT, sentences: Sequence[str], generator: torch.Generator, device: torch.device) -> Tensor:
    """Waves (B, samples) in which a joint model of speech says sentences, on the CPU."""
    x = SPEECH.pack(text=SPOKEN.encode(sentences, 7).to(device))
    x = fill_in(SPEECH, model, x, SPEECH.tokens("text"), generator, steps=16, scale=GUIDANCE, condition=("text",))
    mels = load("vqvae_sound", device).decode(SPEECH.unpack(x)["sound"])
    return torch.cat([sound.to_waves(part) for part in mels.cpu().split(50)])


# ---------------------------------------------------------------- clips


def pieces_of(frames: Tensor) -> Tensor:
    """Clips (B, 3, 8, 24, 24) as four pieces each, (B, 4, 3, 4, 24, 24): the first frame as a still, both halves, and
    the last frame as a still. A still is a picture that stays for four frames."""
    first, last = (frame.expand(-1, -1, 4, -1, -1) for frame in (frames[:, :, :1], frames[:, :, -1:]))
    return torch.stack([first, frames[:, :, :4], frames[:, :, 4:], last], 1)


def _pieces_shown(generator: torch.Generator, device: torch.device) -> Tensor:
    pieces = pieces_of(motion.clips(10_000, generator).frames)  # (B, 4, 3, 4, 24, 24)
    halves, stills = pieces[:, 1:3], pieces[::4, ::3]  # one still to four halves
    return torch.cat([halves.flatten(0, 1), stills.flatten(0, 1)]).to(device)


def _vqvae_clips() -> VQVAE:
    return VQVAE((3, 4, 24, 24), VectorQuantizer(num_codes=1024, dim=16, decay=0.97), width=64)


@torch.no_grad()
def score_vqvae_clips(model: VQVAE, device: torch.device, count: int = 1000) -> dict[str, float]:
    """PSNR, use of the codebook and share of clips that read the same after coding, on fresh clips."""
    fresh = motion.clips(count, torch.Generator().manual_seed(1_000_000))
    pieces = pieces_of(fresh.frames)[:, 1:3].flatten(0, 1)  # (2 · B, 3, 4, 24, 24)
    ids = torch.cat([model.encode(part.to(device)) for part in pieces.split(500)])
    decoded = torch.cat([model.decode(part) for part in ids.split(500)]).cpu()
    same = (motion.read_clips(joined(decoded)) == fresh.tracks).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, pieces), "codes_used": used, "clips_read_right": same}


def joined(halves: Tensor) -> Tensor:
    """Halves (2 · B, 3, 4, 24, 24), one after the other, as clips (B, 3, 8, 24, 24)."""
    return halves.unflatten(0, (-1, 2)).transpose(1, 2).flatten(2, 3)


def _vqvae_frames() -> VQVAE:
    return VQVAE((3, 24, 24), VectorQuantizer(num_codes=256, dim=8, decay=0.97), width=64)


def frames_of(clips: Tensor) -> Tensor:
    """Clips (B, 3, 8, 24, 24) as pictures (B · 8, 3, 24, 24)."""
    return clips.transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def score_vqvae_frames(model: VQVAE, device: torch.device, count: int = 1000) -> dict[str, float]:
    """The same of frames that are coded one by one."""
    fresh = motion.clips(count, torch.Generator().manual_seed(1_000_000))
    pictures = frames_of(fresh.frames)
    ids = torch.cat([model.encode(part.to(device)) for part in pictures.split(1000)])
    decoded = torch.cat([model.decode(part) for part in ids.split(1000)]).cpu()
    read = motion.read_clips(decoded.unflatten(0, (-1, motion.FRAMES)).transpose(1, 2))
    same = (read == fresh.tracks).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, pictures), "codes_used": used, "clips_read_right": same}


def _joint_clips() -> DiT:
    embedding = TokenEmbedding(FILM, 128, start=load("vqvae_clips").quantizer.codebook)  # all pieces share its ids
    return DiT(embedding, FILM.vocabulary, FILM.positions(128), depth=4, heads=4)


def _clips_as_sequences(generator: torch.Generator, device: torch.device) -> Tensor:
    parts = (motion.clips(5000, generator) for _ in range(CLIPS_SHOWN // 5000))
    return torch.cat([film(part, device) for part in parts])


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


@torch.no_grad()
def score_joint_clips(model: DiT, device: torch.device, count: int = 500) -> dict[str, float]:
    """The share of fresh clips that are right, by the reader: made from a first frame and words, from words, between
    two frames, after the first half; and of captions that are true."""
    generator = torch.Generator().manual_seed(1_000_000)
    fresh = motion.clips(count, generator)
    said, x = motion.clip_captions(fresh.tracks), film(fresh, device)
    scores = {}
    for task, given in TASKS.items():
        known = FILM.tokens(*given)
        made = fill_in(FILM, model, x, known, generator, steps=16, scale=GUIDANCE, condition=given)
        tracks = motion.read_clips(clips_in(made, device))
        right = motion.clip_true_of(said, tracks) if task == "from_words" else (tracks == fresh.tracks).all(1)
        scores[f"{task}_right"] = right.float().mean().item()
    captioned = fill_in(FILM, model, x, FILM.tokens(*PIECES), generator, steps=9)
    captions = CLIP_WORDS.decode(FILM.unpack(captioned)["text"])
    return scores | {"captions_right": motion.clip_true_of(captions, fresh.tracks).float().mean().item()}


TASKS = {  # what is given to make a clip
    "animated": ("text", "start"),
    "from_words": ("text",),
    "between": ("start", "end"),
    "continued": ("start", "first"),
}


_FROM_MNIST = "the first 9,000 of MNIST's test pictures (CC BY-SA 3.0)"
_FROM_SPEECH = f"the course's spoken words and 2,700 recordings of the {sound.LICENCE_OF_DIGITS}"
RECIPES = {
    "vqvae_scenes": Recipe(
        about="VQ-VAE for scenes of 24 × 24 pixels: 36 tokens, 64 codes of dimension 8",
        build=_vqvae_scenes,
        learns_from=lambda generator, device: data.scenes(50_000, generator).pictures.to(device),
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_scenes,
        settings={"steps": 10_000, "lr": 3e-3, "seed": 0, "average": 0.999},
        batch=32,
    ),
    "judge_mnist": Recipe(
        about="classifier of MNIST digits, 32 × 32 pixels, to judge what other models draw",
        build=_judge_mnist,
        learns_from=_mnist,
        loss=_loss_of_judge,
        scores=score_judge_mnist,
        settings={"steps": 3000, "lr": 1e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from=_FROM_MNIST,
    ),
    "vqvae_mnist": Recipe(
        about="VQ-VAE for MNIST digits, 32 × 32 pixels: 64 tokens, 128 codes of dimension 8",
        build=_vqvae_mnist,
        learns_from=lambda generator, device: _mnist(generator, device)[0],
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_mnist,
        settings={"steps": 6000, "lr": 3e-3, "seed": 0, "average": 0.999},
        batch=32,
        learned_from=_FROM_MNIST,
    ),
    "dit_digits": Recipe(
        about="diffusion transformer for digits of 8 × 8 pixels as 16 patches, by label",
        build=_dit_digits,
        learns_from=_digits_as_patches,
        loss=_loss_of_dit,
        scores=score_dit_digits,
        settings={"steps": 4000, "lr": 3e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from="1,347 of scikit-learn's handwritten digits",
    ),
    "dit_scenes": Recipe(
        about="diffusion transformer for scenes of one object in the latent space of vqvae_scenes, by shape and colour",
        build=_dit_scenes,
        learns_from=_scenes_as_latents,
        loss=_loss_of_dit,
        scores=score_dit_scenes,
        settings={"steps": 10_000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
    ),
    "dit_mnist": Recipe(
        about="diffusion transformer for MNIST digits in the latent space of vqvae_mnist, by label",
        build=_dit_mnist,
        learns_from=_mnist_as_latents,
        loss=_loss_of_dit,
        scores=score_dit_mnist,
        settings={"steps": 8000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from=_FROM_MNIST,
    ),
    "masked_scenes": Recipe(
        about="diffusion transformer for the tokens of scenes of one object, by shape and colour",
        build=_masked_scenes,
        learns_from=_scenes_as_tokens,
        loss=_loss_of_masked(MASKED_SCENES),
        scores=score_masked_scenes,
        settings={"steps": 3000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
    ),
    "masked_mnist": Recipe(
        about="diffusion transformer for the tokens of MNIST digits, by label",
        build=_masked_mnist,
        learns_from=_mnist_as_tokens,
        loss=_loss_of_masked(MASKED_MNIST),
        scores=score_masked_mnist,
        settings={"steps": 2500, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=32,
        learned_from=_FROM_MNIST,
    ),
    "joint_scenes": Recipe(
        about="one diffusion transformer for captions and pictures of scenes: 7 words and 36 tokens of vqvae_scenes",
        build=_joint,
        learns_from=_pairs_shown,
        loss=loss_of_joint(LAYOUT),
        scores=score_joint,
        settings={"steps": 16_000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
    ),
    "vqvae_sound": Recipe(
        about="VQ-VAE for log-mel spectrograms of speech, 4.16 s: 52 tokens, 512 codes of dimension 16",
        build=_vqvae_sound,
        learns_from=lambda generator, device: speech(16_000, generator).mels.to(device),
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_sound,
        settings={"steps": 6000, "lr": 3e-3, "seed": 0, "average": 0.995},
        batch=32,
        learned_from=_FROM_SPEECH,
    ),
    "judge_speech": Recipe(
        about="recogniser of spoken words by their spectrogram, to judge what other models say",
        build=_judge_speech,
        learns_from=_mels_and_words,
        loss=_loss_of_recogniser,
        scores=score_judge_speech,
        settings={"steps": 3000, "lr": 1e-3, "seed": 1, "average": 0.995},
        batch=32,
        learned_from=_FROM_SPEECH,
    ),
    "joint_clips": Recipe(
        about="one diffusion transformer for captions and clips: 9 words and 4 pieces of 36 tokens of vqvae_clips",
        build=_joint_clips,
        learns_from=_clips_as_sequences,
        loss=loss_of_joint(FILM),
        scores=score_joint_clips,
        settings={"steps": 12_000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=32,
    ),
    "joint_speech": Recipe(
        about="one diffusion transformer for words and speech: 7 words and 52 tokens of vqvae_sound",
        build=_joint_speech,
        learns_from=_speech_as_sequences,
        loss=loss_of_joint(SPEECH),
        scores=score_joint_speech,
        settings={"steps": 16_000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from=_FROM_SPEECH,
    ),
    "vqvae_clips": Recipe(
        about="VQ-VAE for four frames of a clip, or a still: 36 tokens, 1,024 codes of dimension 16",
        build=_vqvae_clips,
        learns_from=_pieces_shown,
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_clips,
        settings={"steps": 9000, "lr": 3e-3, "seed": 0, "average": 0.995},
        batch=32,
    ),
    "vqvae_frames": Recipe(
        about="VQ-VAE for single frames of clips: 36 tokens, 256 codes of dimension 8",
        build=_vqvae_frames,
        learns_from=lambda generator, device: frames_of(motion.clips(6000, generator).frames).to(device),
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_frames,
        settings={"steps": 6000, "lr": 3e-3, "seed": 0, "average": 0.995},
        batch=32,
    ),
}


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise ValueError(f"There is no checkpoint {name!r}; there are: {', '.join(RECIPES)}.")
    return RECIPES[name]


def train(name: str, folder: str | Path, device: torch.device, steps: int | None = None) -> Iterator[dict[str, float]]:
    """Make a checkpoint again by its recipe: NAME.safetensors and its card NAME.json in `folder`.

    Stopped and started again, it goes on from `folder`/NAME.state. Yields what `fit` yields.
    """
    recipe, path = _recipe(name), Path(folder) / f"{name}.safetensors"
    settings = recipe.settings | ({} if steps is None else {"steps": steps})
    torch.manual_seed(settings["seed"])
    model = recipe.build().to(device)
    x = recipe.learns_from(torch.Generator().manual_seed(settings["seed"]), device)
    start, state = time.perf_counter(), path.with_suffix(".state")

    def loss(batch, generator):
        return recipe.loss(model, batch, generator)

    yield from fit(model, loss, batches(x, recipe.batch), save_to=state, **settings)
    scores = recipe.scores(model, device)
    card = {
        "name": name,
        "about": recipe.about,
        "command": f"python -m vqdit_lite train {name}" + (f" --steps {steps}" if steps else ""),
        "settings": {**settings, "batch": recipe.batch},
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": round(time.perf_counter() - start),
        "machine": f"{device.type}, {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.system()}",
        "scores_on_fresh_data": {key: round(value, 4) for key, value in scores.items()},
        "licence": f"MIT, like the course; learned from {recipe.learned_from}",
    }
    checkpoints.save(path, model, card)
    state.unlink()


def load(name: str, device: torch.device | str = "cpu", folder: str | Path = SHIPPED) -> nn.Module:
    """A shipped model with its weights, in evaluation mode.

    >>> load("vqvae_scenes").encode(torch.rand(1, 3, 24, 24)).shape
    torch.Size([1, 36])
    """
    model = _recipe(name).build()
    checkpoints.load(Path(folder) / f"{name}.safetensors", model)
    return model.to(device).eval()


def card(name: str) -> str:
    """The model card of a shipped checkpoint, as text."""
    return json.dumps(checkpoints.read_card(SHIPPED / f"{name}.safetensors"), indent=2, ensure_ascii=False)
