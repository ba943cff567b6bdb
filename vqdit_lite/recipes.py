"""How the shipped checkpoints were made: what each learned from, its loss, its settings and its scores."""

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from sklearn.svm import SVC
from torch import Tensor, nn

from vqdit_lite import checkpoints, data, models, motion, sound
from vqdit_lite.autoencoder import VQVAE, LatentSpace
from vqdit_lite.masked import MaskedDiffusion
from vqdit_lite.metrics import edit_distance, frechet_distance, psnr, recall_at, usage
from vqdit_lite.multimodal import Layout
from vqdit_lite.quantize import nearest_code
from vqdit_lite.schedule import stratified_times
from vqdit_lite.training import batches, fit
from vqdit_lite.transformer import DiT, patchify

# How many examples each recipe learns from.
SCENES_SHOWN, MNIST_SHOWN, DIGITS_SHOWN = 30_000, 9_000, 1_347
PAIRS_SHOWN, SPEECH_SHOWN, CLIPS_SHOWN, TRIPLES_SHOWN = 100_000, 80_000, 60_000, 60_000


class Recipe(NamedTuple):
    """All it takes to make a checkpoint again."""

    about: str
    learns_from: Callable[[torch.Generator, torch.device], Any]  # tensors of examples, row by row
    loss: Callable[[nn.Module, Any, torch.Generator], dict[str, Tensor]]
    scores: Callable[[nn.Module, torch.device], dict[str, float]]
    settings: dict[str, Any]  # for `fit`
    batch: int
    learned_from: str = "data that the course draws itself"
    starts_from: Callable[[Any], None] | None = None  # puts weights of other checkpoints into the fresh model


# ---------------------------------------------------------------- VQ-VAEs


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
    right = (models.load("judge_mnist", device)(decoded).argmax(1) == labels).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, held_out), "codes_used": used, "digits_read_right": right}


# ---------------------------------------------------------------- a judge of MNIST


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


def _digits_as_patches(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = digits_split()[0]
    return patchify(pictures, 2).to(device), labels.to(device)  # (1347, 16, 4)


def _scenes_as_latents(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.single_scenes(SCENES_SHOWN, generator)
    return models.latents("vqvae_scenes", pictures, device), labels.to(device)


def _mnist_as_latents(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = _mnist(generator, torch.device("cpu"))
    return models.latents("vqvae_mnist", pictures, device), labels.to(device)


def _loss_of_dit(model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    x0, labels = batch
    return models.DIFFUSION.loss(model, x0, generator, labels=labels)


def _asked(classes: int, device: torch.device) -> tuple[Tensor, torch.Generator]:
    return torch.arange(1000, device=device) % classes, torch.Generator().manual_seed(1_000_000)


def score_dit_digits(model: DiT, device: torch.device) -> dict[str, float]:
    """Right labels at guidance 1.5, and the Fréchet distance to held-out digits over that of real ones, unguided."""
    labels, generator = _asked(10, device)
    shown, held_out = digits_split()
    read = judge_digits().predict(models.as_digits(models.draw(model, labels, 1.5, generator)).flatten(1).numpy())
    right = (torch.as_tensor(read) == labels.cpu()).float().mean().item()
    free = models.as_digits(models.draw(model, labels, 1.0, generator)).flatten(1)
    return {"labels_right": right, "frechet_over_real": frechet_over_real(free, shown, held_out)}


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
    pictures = LatentSpace(models.load("vqvae_scenes", device)).decode(models.draw(model, labels, 2.0, generator))
    return {"labels_right": (data.read_labels(pictures) == labels.cpu()).float().mean().item()}


@torch.no_grad()
def score_dit_mnist(model: DiT, device: torch.device) -> dict[str, float]:
    """The share of 1,000 drawings in which the judge reads the digit asked for, at guidance 2."""
    labels, generator = _asked(10, device)
    pictures = LatentSpace(models.load("vqvae_mnist", device)).decode(models.draw(model, labels, 2.0, generator))
    return {"labels_right": (models.load("judge_mnist", device)(pictures).argmax(1) == labels).float().mean().item()}


# ---------------------------------------------------------------- masked diffusion


def _scenes_as_tokens(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = data.single_scenes(SCENES_SHOWN, generator)
    return models.tokens("vqvae_scenes", pictures, device), labels.to(device)


def _mnist_as_tokens(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    pictures, labels = _mnist(generator, torch.device("cpu"))
    return models.tokens("vqvae_mnist", pictures, device), labels.to(device)


def _pairs_shown(generator: torch.Generator, device: torch.device) -> Tensor:
    return models.pairs(data.scenes(PAIRS_SHOWN, generator), device)


def _loss_of_masked(diffusion: MaskedDiffusion) -> Callable:
    def loss(model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        x0, labels = batch
        return diffusion.loss(model, x0, generator, labels=labels)

    return loss


def loss_of_joint(layout: Layout, importance: Tensor | float = 1.0) -> Callable:
    """The loss of sequences (B, N) of a layout, each segment at a time of its own."""

    def loss(model: DiT, x0: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        t = layout.times(len(x0), generator)
        return models.diffusion_of(layout).loss(layout.denoiser(model), x0, generator, t=t, importance=importance)

    return loss


Task = tuple[tuple[str, ...], tuple[str, ...]]  # the segments that are given, and those asked for


def times_of_tasks(layout: Layout, tasks: Sequence[Task], n: int, generator: torch.Generator) -> Tensor:
    """Times of each token (n, N) for training as in use: a task by chance; what it gives is clean, or in one row of ten
    hidden; what is asked for is at one time of all; the rest is hidden."""
    given, asked = (torch.stack([layout.tokens(*names) for names in side]) for side in zip(*tasks, strict=True))
    task = torch.randint(len(tasks), (n,), generator=generator)
    unknown = (torch.rand(n, 1, generator=generator) < 0.1).float()
    t = stratified_times(n, generator)[:, None]
    return torch.where(given[task], unknown, torch.where(asked[task], t, 1.0))  # (n, N)


def loss_of_tasks(layout: Layout, tasks: Sequence[Task], importance: Tensor | float = 1.0) -> Callable:
    """The loss of sequences (B, N) of a layout, at the times of tasks."""

    def loss(model: DiT, x0: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        t = times_of_tasks(layout, tasks, len(x0), generator)
        return models.diffusion_of(layout).loss(layout.denoiser(model), x0, generator, t=t, importance=importance)

    return loss


def alike(layout: Layout) -> Tensor:
    """An importance of tokens, (N,), that lets a short segment count as much as a long one; on average 1."""
    lengths = layout.modality.bincount()
    return (layout.length / len(lengths) / lengths)[layout.modality]


@torch.no_grad()
def score_masked_scenes(model: DiT, device: torch.device) -> dict[str, float]:
    """The share of 1,000 drawings with exactly one object, of the shape and colour asked for, at guidance 2."""
    labels, generator = _asked(12, device)
    pictures = models.load("vqvae_scenes", device).decode(
        models.draw_tokens(models.MASKED_SCENES, model, labels, models.GUIDANCE, generator)
    )
    return {"labels_right": (data.read_labels(pictures) == labels.cpu()).float().mean().item()}


@torch.no_grad()
def score_masked_mnist(model: DiT, device: torch.device) -> dict[str, float]:
    """The share of 1,000 drawings in which the judge reads the digit asked for, at guidance 2."""
    labels, generator = _asked(10, device)
    pictures = models.load("vqvae_mnist", device).decode(
        models.draw_tokens(models.MASKED_MNIST, model, labels, models.GUIDANCE, generator)
    )
    return {"labels_right": (models.load("judge_mnist", device)(pictures).argmax(1) == labels).float().mean().item()}


@torch.no_grad()
def score_joint(model: DiT, device: torch.device, count: int = 1000) -> dict[str, float]:
    """Right captions, pictures, finished pictures, and recall@1 among 16, on fresh scenes."""
    generator = torch.Generator().manual_seed(1_000_000)
    fresh = data.scenes(count, generator)
    said, x = data.captions(fresh.objects), models.pairs(fresh, device)
    words, picture = models.LAYOUT.tokens("text"), models.LAYOUT.tokens("picture")

    def share_true(sentences, objects):
        return data.true_of(sentences, objects).float().mean().item()

    def drawn(x):
        return data.read_scenes(
            models.load("vqvae_scenes", device).decode(models.LAYOUT.unpack(x)["picture"].flatten(1))
        )

    captioned = models.fill_in(models.LAYOUT, model, x, picture, generator, steps=7)
    sentences = models.WORDS.decode(models.LAYOUT.unpack(captioned)["text"])
    pictures = drawn(
        models.fill_in(models.LAYOUT, model, x, words, generator, steps=16, scale=models.GUIDANCE, condition=("text",))
    )
    finished = drawn(
        models.fill_in(
            models.LAYOUT, model, x, models.left_half(), generator, steps=16, scale=models.GUIDANCE, condition=("text",)
        )
    )
    different = [said.index(sentence) for sentence in dict.fromkeys(said)]  # scenes whose captions differ
    scores = {
        "captions_right": share_true(sentences, fresh.objects),
        "pictures_right": share_true(said, pictures),
        "halves_right": share_true(said, finished),
    }
    for group in torch.tensor(different[:160]).view(10, 16):
        text_given_picture = models.log_likelihoods(model, x[group], "picture", draws=16)  # (16, 16)
        picture_given_text = models.log_likelihoods(model, x[group], "text", draws=16)
        for name, table in (
            ("recall_of_captions", picture_given_text),  # row: picture, column: caption
            ("recall_of_pictures", text_given_picture),  # row: caption, column: picture
        ):
            scores[name] = scores.get(name, 0.0) + recall_at(1, table) / 10
    return scores


# ---------------------------------------------------------------- speech


def speech(n: int, generator: torch.Generator) -> models.Speech:
    """Sentences to learn from: a half digits by people, mostly one; the rest captions, and some digits, by machines."""
    people = sound.spoken_digits("train")
    spoken = _lists(range(len(people.waves)), n // 2, 4, generator)
    spoken = [numbers[:1] if k % 3 else numbers for k, numbers in enumerate(spoken)]
    said = [" ".join(sound.DIGITS[people.labels[k]] for k in numbers) for numbers in spoken]
    waves = [[sound.vary(people.waves[k], generator) for k in numbers] for numbers in spoken]
    strings = [" ".join(digits) for digits in _lists(sound.DIGITS, n // 10, 7, generator)]
    captions = data.captions(data.scenes(n - len(said) - len(strings), generator).objects)
    made = sound.speak(captions + strings, generator)
    return models.Speech(said + captions + strings, models.mels_of(torch.cat([sound.arrange(waves, generator), made])))


def _lists(items: Sequence, n: int, longest: int, generator: torch.Generator) -> list[list]:
    """n lists by chance, each of 1 to `longest` items."""
    lengths = torch.randint(1, longest + 1, (n,), generator=generator).tolist()
    return [[items[k] for k in torch.randint(len(items), (length,), generator=generator)] for length in lengths]


def people_shown(split: str, generator: torch.Generator) -> models.Speech:
    """Real digits, one a sound."""
    people = sound.spoken_digits(split)
    waves = sound.arrange([[wave] for wave in people.waves], generator)
    return models.Speech([sound.DIGITS[label] for label in people.labels], models.mels_of(waves))


def captions_shown(n: int, generator: torch.Generator, voices: Sequence[int] = sound.KNOWN_VOICES) -> models.Speech:
    """Fresh spoken captions."""
    sentences = data.captions(data.scenes(n, generator).objects)
    return models.Speech(sentences, models.mels_of(sound.speak(sentences, generator, voices)))


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


def fresh_speech(count: int = 500) -> dict[str, models.Speech]:
    """What the models of speech are scored on: known voices, the unheard voice, people."""
    generator = torch.Generator().manual_seed(1_000_000)
    return {
        "known_voices": captions_shown(count, generator),
        "unheard_voice": captions_shown(count, generator, [sound.UNHEARD_VOICE]),
        "people": people_shown("test", generator),
    }


def _mels_and_words(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    shown = speech(16_000, generator)
    return shown.mels.to(device), models.SPOKEN.encode(shown.sentences, 7).to(device)


def _loss_of_recogniser(
    model: nn.Module, batch: tuple[Tensor, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    mels, text = batch
    noisy = mels + 0.05 * torch.randn(mels.shape, generator=generator).to(mels)
    log_p = model(noisy).log_softmax(-1).transpose(0, 1)  # (frames / 4, B, words + 1)
    frames = torch.full((len(mels),), len(log_p))
    return {"loss": F.ctc_loss(log_p, text, frames, (text > 0).sum(1).cpu())}


@torch.no_grad()
def score_judge_speech(model: nn.Module, device: torch.device) -> dict[str, float]:
    """The share of words that are misheard, on fresh sounds."""
    return {
        f"word_error_{name}": word_error(fresh.sentences, models.listen(model, fresh.mels.to(device)))
        for name, fresh in fresh_speech().items()
    }


def word_error(said: Sequence[str], heard: Sequence[str]) -> float:
    """Words to insert, leave out or replace, for each word that was said."""
    pairs = [(one.split(), other.split()) for one, other in zip(said, heard, strict=True)]
    return sum(edit_distance(*pair) for pair in pairs) / sum(len(words) for words, _ in pairs)


def _speech_as_sequences(generator: torch.Generator, device: torch.device) -> Tensor:
    parts = (speech(5000, generator) for _ in range(SPEECH_SHOWN // 5000))
    return torch.cat([models.spoken_sequences(part, device) for part in parts])


@torch.no_grad()
def score_joint_speech(model: DiT, device: torch.device) -> dict[str, float]:
    """Word errors of what is heard, of known voices, the unheard one and people; people's digits that are told right
    from each other; and word errors of what is said, as the judge hears it in the wave."""
    generator, scores, fresh = torch.Generator().manual_seed(1_000_000), {}, fresh_speech()
    for name, spoken in fresh.items():
        x = models.spoken_sequences(spoken, device)
        heard = models.fill_in(models.SPEECH, model, x, models.SPEECH.tokens("sound"), generator, steps=7)
        scores[f"word_error_{name}"] = word_error(
            spoken.sentences, models.SPOKEN.decode(models.SPEECH.unpack(heard)["text"])
        )
    people = sound.spoken_digits("test")
    heard = models.heard_digits(model, people.waves, device)
    scores["digits_of_people_right"] = (heard == people.labels).float().mean().item()
    sentences = fresh["known_voices"].sentences
    said = models.say(model, sentences, generator, device)
    scores["word_error_of_speech"] = word_error(
        sentences, models.listen(models.load("judge_speech", device), models.mels_of(said).to(device))
    )
    return scores


# ---------------------------------------------------------------- clips


def _pieces_shown(generator: torch.Generator, device: torch.device) -> Tensor:
    pieces = models.pieces_of(motion.clips(10_000, generator).frames)  # (B, 4, 3, 4, 24, 24)
    halves, stills = pieces[:, 1:3], pieces[::4, ::3]  # one still to four halves
    return torch.cat([halves.flatten(0, 1), stills.flatten(0, 1)]).to(device)


@torch.no_grad()
def score_vqvae_clips(model: VQVAE, device: torch.device, count: int = 1000) -> dict[str, float]:
    """PSNR, use of the codebook and share of clips that read the same after coding, on fresh clips."""
    fresh = motion.clips(count, torch.Generator().manual_seed(1_000_000))
    pieces = models.pieces_of(fresh.frames)[:, 1:3].flatten(0, 1)  # (2 · B, 3, 4, 24, 24)
    ids = torch.cat([model.encode(part.to(device)) for part in pieces.split(500)])
    decoded = torch.cat([model.decode(part) for part in ids.split(500)]).cpu()
    same = (motion.read_clips(models.joined(decoded)) == fresh.tracks).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, pieces), "codes_used": used, "clips_read_right": same}


@torch.no_grad()
def score_vqvae_frames(model: VQVAE, device: torch.device, count: int = 1000) -> dict[str, float]:
    """The same of frames that are coded one by one."""
    fresh = motion.clips(count, torch.Generator().manual_seed(1_000_000))
    pictures = models.frames_of(fresh.frames)
    ids = torch.cat([model.encode(part.to(device)) for part in pictures.split(1000)])
    decoded = torch.cat([model.decode(part) for part in ids.split(1000)]).cpu()
    read = motion.read_clips(decoded.unflatten(0, (-1, motion.FRAMES)).transpose(1, 2))
    same = (read == fresh.tracks).all(1).float().mean().item()
    used = usage(ids, model.quantizer.num_codes)
    return {"psnr_db": psnr(decoded, pictures), "codes_used": used, "clips_read_right": same}


def _clips_as_sequences(generator: torch.Generator, device: torch.device) -> Tensor:
    parts = (motion.clips(5000, generator) for _ in range(CLIPS_SHOWN // 5000))
    return torch.cat([models.film(part, device) for part in parts])


@torch.no_grad()
def score_joint_clips(model: DiT, device: torch.device, count: int = 500) -> dict[str, float]:
    """The share of fresh clips that are right, by the reader: made from a first frame and words, from words (first a
    still, then the rest; and with up to three tries, checked by its own captions), between two frames, after the first
    half; and of captions that are true."""
    generator = torch.Generator().manual_seed(1_000_000)
    fresh = motion.clips(count, generator)
    said, x, scores = motion.clip_captions(fresh.tracks), models.film(fresh, device), {}

    def tell(x, task):
        return models.answer(models.FILM, model, x, *models.TASKS[task], generator)

    for task in ("animated", "between", "continued"):
        tracks = motion.read_clips(models.clips_in(tell(x, task), device))
        scores[f"{task}_right"] = (tracks == fresh.tracks).all(1).float().mean().item()

    def share_true(made):
        return motion.clip_true_of(said, motion.read_clips(models.clips_in(made, device))).float().mean().item()

    scores["from_words_right"] = share_true(tell(tell(x, "still"), "animated"))
    captioned = tell(x, "captions")
    captions = models.CLIP_WORDS.decode(models.FILM.unpack(captioned)["text"])
    scores["captions_right"] = motion.clip_true_of(captions, fresh.tracks).float().mean().item()
    checked = models.clips_from_words(model, x, torch.Generator().manual_seed(2_000_000))
    return scores | {"from_words_checked_right": share_true(checked)}


# ---------------------------------------------------------------- any to any


@torch.no_grad()
def _add_codes_for_new_colour(model: VQVAE) -> None:
    """The weights of `vqvae_scenes`, and 16 codes more, by k-means on what its encoder says of the new colour."""
    known = models.load("vqvae_scenes")
    model.encoder.load_state_dict(known.encoder.state_dict())
    model.decoder.load_state_dict(known.decoder.state_dict())
    fresh = data.scenes_in_new_colour(2000, torch.Generator().manual_seed(0))
    new = (fresh.objects > data.NUM_OBJECTS).view(-1, 3, 3)
    new = new.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)  # (B, 9) places -> (B, 36) tokens
    means = KMeans(16, n_init=2, random_state=0).fit(model.encoder(fresh.pictures)[new].numpy()).cluster_centers_
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
def score_vqvae_colours(model: VQVAE, device: torch.device, count: int = 2000) -> dict[str, float]:
    """PSNR and share of scenes that read the same after coding, of fresh scenes in the old colours and the new one;
    and the share of tokens in the old ones that are those of `vqvae_scenes`."""
    generator, scores = torch.Generator().manual_seed(1_000_000), {}
    for name, draw in (("old", data.scenes), ("new", data.scenes_in_new_colour)):
        fresh = draw(count, generator)
        decoded = model.decode(model.encode(fresh.pictures.to(device))).cpu()
        same = (data.read_scenes(decoded, data.ALL_OBJECTS) == fresh.objects).all(1).float().mean().item()
        scores |= {f"psnr_db_{name}": psnr(decoded, fresh.pictures), f"scenes_read_right_{name}": same}
    pictures = data.scenes(count, generator).pictures.to(device)
    kept = model.encode(pictures) == models.load("vqvae_scenes", device).encode(pictures)
    return scores | {"tokens_as_before": kept.float().mean().item()}


PRACTICE = {  # what a batch of the any-to-any model holds, and how often
    ("text", "picture"): 0.4,
    ("text", "sound"): 0.35,
    ("text", "picture", "sound"): 0.2,
    ("picture",): 0.05,  # in the new colour, and without a word
}


def triples(scenes: data.Scenes, generator: torch.Generator, device: torch.device, voices=sound.KNOWN_VOICES) -> Tensor:
    """Scenes as sequences (B, 95): what their captions say, what they look like, and how a voice speaks."""
    sentences = data.captions(scenes.objects)
    mels = models.mels_of(sound.speak(sentences, generator, voices))
    return models.ANY.pack(
        text=models.ANY_WORDS.encode(sentences, 7).to(device),
        picture=models.tokens("vqvae_colours", scenes.pictures, device),
        sound=models.tokens("vqvae_sound", mels, device),
    )


def _triples_shown(generator: torch.Generator, device: torch.device) -> tuple[Tensor, Tensor]:
    parts = [triples(data.scenes(5000, generator), generator, device) for _ in range(TRIPLES_SHOWN // 5000)]
    new = data.scenes_in_new_colour(TRIPLES_SHOWN, generator).pictures
    return torch.cat(parts), models.ANY.pack(picture=models.tokens("vqvae_colours", new, device))


@torch.no_grad()
def take_over_joint_scenes(model: DiT) -> None:
    """Start from what `joint_scenes` knows of words and pictures; sounds and the new codes start at random."""
    old, here, there = models.load("joint_scenes"), models.ANY, models.LAYOUT
    model.blocks.load_state_dict(old.blocks.state_dict())
    model.time.load_state_dict(old.time.state_dict())
    model.modulation.load_state_dict(old.modulation.state_dict())
    model.embedding.projections["picture"].load_state_dict(old.embedding.projections["picture"].state_dict())
    model.embedding.modality.weight[:2] = old.embedding.modality.weight
    words, codes = len(models.WORDS), there.segments["picture"].vocabulary
    first = here.segments["text"].vocabulary  # where the codes of pictures begin
    for new, known in (
        (model.embedding.ids.weight, old.embedding.ids.weight),
        (model.head.weight, old.head.weight),
        (model.head.bias, old.head.bias),
    ):
        new[:words] = known[:words]
        new[first : first + codes] = known[words : words + codes]
    model.embedding.ids.weight[here.mask_id] = old.embedding.ids.weight[there.mask_id]


def _loss_of_any(model: DiT, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """The loss of one kind of practice, drawn by chance, each segment at a time of its own."""
    shares = torch.tensor(list(PRACTICE.values()))
    names = list(PRACTICE)[torch.multinomial(shares, 1, generator=generator)]
    kept, part, (triple, new) = models.ANY.tokens(*names), models.ANY.only(*names), batch
    x = (triple if "text" in names else new)[:, kept.to(triple.device)]
    denoiser = part.denoiser(models.excerpt(model, kept))
    importance = alike(part).to(x.device) if "sound" in names else 1.0  # few words stand beside many sounds
    t = part.times(len(x), generator)
    return models.diffusion_of(part).loss(denoiser, x, generator, t=t, importance=importance)


@torch.no_grad()
def share_right(x: Tensor, asked: str, scenes: data.Scenes, device: torch.device) -> float:
    """How right the segment `asked` of sequences x (B, 95) is, by readers in which no transformer takes part: the share
    of sentences, or of pictures, that are true in every word; or of words that the judge hears in the wave."""
    said, ids = data.captions(scenes.objects), models.ANY.unpack(x)[asked].flatten(1)
    if asked == "text":
        return data.true_of(models.ANY_WORDS.decode(ids), scenes.objects).float().mean().item()
    if asked == "picture":
        read = data.read_scenes(models.load("vqvae_colours", device).decode(ids), data.ALL_OBJECTS)
        return data.true_of(said, read).float().mean().item()
    mels = models.load("vqvae_sound", device).decode(ids).cpu()
    waves = torch.cat([sound.to_waves(part) for part in mels.split(50)])
    return 1 - word_error(said, models.listen(models.load("judge_speech", device), models.mels_of(waves).to(device)))


@torch.no_grad()
def score_any_to_any(model: DiT, device: torch.device, count: int = 500) -> dict[str, float]:
    """All six directions on fresh scenes, at the first try; word errors of what it hears; pictures and speech in as few
    steps as the specialists take; and captions that are true after words, speech, picture, words."""
    generator, scores, made = torch.Generator().manual_seed(1_000_000), {}, {}
    fresh = data.scenes(count, generator)
    x = triples(fresh, generator, device)
    for given, asked in permutations(models.ANY.segments, 2):
        made[given, asked] = models.translate(model, x, given, asked, generator)
        scores[f"{given}_to_{asked}"] = share_right(made[given, asked], asked, fresh, device)
    for name, voices in (("known_voices", sound.KNOWN_VOICES), ("unheard_voice", [sound.UNHEARD_VOICE])):
        spoken = triples(fresh, generator, device, voices)
        heard = models.ANY.unpack(models.tell(model, spoken, ("sound",), "text", generator))["text"]
        scores[f"word_error_{name}"] = word_error(data.captions(fresh.objects), models.ANY_WORDS.decode(heard))
    for asked in ("picture", "sound"):  # with the settings of the specialists, to compare
        hurried = torch.Generator().manual_seed(2_000_000)
        short = models.tell(model, x, ("text",), asked, hurried, models.GUIDANCE, 16)
        scores[f"text_to_{asked}_in_16_steps"] = share_right(short, asked, fresh, device)
    drawn = models.translate(model, made["text", "sound"], "sound", "picture", generator)
    described = models.translate(model, drawn, "picture", "text", generator)
    return scores | {"text_to_sound_to_picture_to_text": share_right(described, "text", fresh, device)}


_FROM_MNIST = "the first 9,000 of MNIST's test pictures (CC BY-SA 3.0)"
_FROM_SPEECH = f"the course's spoken words and 2,700 recordings of the {sound.LICENCE_OF_DIGITS}"
RECIPES = {
    "vqvae_scenes": Recipe(
        about="VQ-VAE for scenes of 24 × 24 pixels: 36 tokens, 64 codes of dimension 8",
        learns_from=lambda generator, device: data.scenes(50_000, generator).pictures.to(device),
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_scenes,
        settings={"steps": 10_000, "lr": 3e-3, "seed": 0, "average": 0.999},
        batch=32,
    ),
    "judge_mnist": Recipe(
        about="classifier of MNIST digits, 32 × 32 pixels, to judge what other models draw",
        learns_from=_mnist,
        loss=_loss_of_judge,
        scores=score_judge_mnist,
        settings={"steps": 3000, "lr": 1e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from=_FROM_MNIST,
    ),
    "vqvae_mnist": Recipe(
        about="VQ-VAE for MNIST digits, 32 × 32 pixels: 64 tokens, 128 codes of dimension 8",
        learns_from=lambda generator, device: _mnist(generator, device)[0],
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_mnist,
        settings={"steps": 6000, "lr": 3e-3, "seed": 0, "average": 0.999},
        batch=32,
        learned_from=_FROM_MNIST,
    ),
    "dit_digits": Recipe(
        about="diffusion transformer for digits of 8 × 8 pixels as 16 patches, by label",
        learns_from=_digits_as_patches,
        loss=_loss_of_dit,
        scores=score_dit_digits,
        settings={"steps": 4000, "lr": 3e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from="1,347 of scikit-learn's handwritten digits",
    ),
    "dit_scenes": Recipe(
        about="diffusion transformer for scenes of one object in the latent space of vqvae_scenes, by shape and colour",
        learns_from=_scenes_as_latents,
        loss=_loss_of_dit,
        scores=score_dit_scenes,
        settings={"steps": 10_000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
    ),
    "dit_mnist": Recipe(
        about="diffusion transformer for MNIST digits in the latent space of vqvae_mnist, by label",
        learns_from=_mnist_as_latents,
        loss=_loss_of_dit,
        scores=score_dit_mnist,
        settings={"steps": 8000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from=_FROM_MNIST,
    ),
    "masked_scenes": Recipe(
        about="diffusion transformer for the tokens of scenes of one object, by shape and colour",
        learns_from=_scenes_as_tokens,
        loss=_loss_of_masked(models.MASKED_SCENES),
        scores=score_masked_scenes,
        settings={"steps": 3000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
    ),
    "masked_mnist": Recipe(
        about="diffusion transformer for the tokens of MNIST digits, by label",
        learns_from=_mnist_as_tokens,
        loss=_loss_of_masked(models.MASKED_MNIST),
        scores=score_masked_mnist,
        settings={"steps": 2500, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=32,
        learned_from=_FROM_MNIST,
    ),
    "joint_scenes": Recipe(
        about="one diffusion transformer for captions and pictures of scenes: 7 words and 36 tokens of vqvae_scenes",
        learns_from=_pairs_shown,
        loss=loss_of_joint(models.LAYOUT),
        scores=score_joint,
        settings={"steps": 16_000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
    ),
    "vqvae_sound": Recipe(
        about="VQ-VAE for log-mel spectrograms of speech, 4.16 s: 52 tokens, 512 codes of dimension 16",
        learns_from=lambda generator, device: speech(16_000, generator).mels.to(device),
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_sound,
        settings={"steps": 6000, "lr": 3e-3, "seed": 0, "average": 0.995},
        batch=32,
        learned_from=_FROM_SPEECH,
    ),
    "judge_speech": Recipe(
        about="recogniser of spoken words by their spectrogram, to judge what other models say",
        learns_from=_mels_and_words,
        loss=_loss_of_recogniser,
        scores=score_judge_speech,
        settings={"steps": 3000, "lr": 1e-3, "seed": 1, "average": 0.995},
        batch=32,
        learned_from=_FROM_SPEECH,
    ),
    "joint_clips": Recipe(
        about="one diffusion transformer for captions and clips: 9 words and 4 pieces of 36 tokens of vqvae_clips",
        learns_from=_clips_as_sequences,
        loss=loss_of_tasks(models.FILM, list(models.TASKS.values())),
        scores=score_joint_clips,
        settings={"steps": 9000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=32,
    ),
    "joint_speech": Recipe(
        about="one diffusion transformer for words and speech: 7 words and 52 tokens of vqvae_sound",
        learns_from=_speech_as_sequences,
        loss=loss_of_joint(models.SPEECH, alike(models.SPEECH)),
        scores=score_joint_speech,
        settings={"steps": 8000, "lr": 2e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from=_FROM_SPEECH,
    ),
    "vqvae_clips": Recipe(
        about="VQ-VAE for four frames of a clip, or a still: 36 tokens, 1,024 codes of dimension 16",
        learns_from=_pieces_shown,
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_clips,
        settings={"steps": 9000, "lr": 3e-3, "seed": 0, "average": 0.995},
        batch=32,
    ),
    "vqvae_frames": Recipe(
        about="VQ-VAE for single frames of clips: 36 tokens, 256 codes of dimension 8",
        learns_from=lambda generator, device: models.frames_of(motion.clips(6000, generator).frames).to(device),
        loss=lambda model, x, generator: model.loss(x),
        scores=score_vqvae_frames,
        settings={"steps": 6000, "lr": 3e-3, "seed": 0, "average": 0.995},
        batch=32,
    ),
    "vqvae_colours": Recipe(
        about="vqvae_scenes with 16 codes more, for a colour that it never saw, and a decoder that knows them",
        learns_from=_scenes_of_all_colours,
        loss=_loss_of_decoder,
        scores=score_vqvae_colours,
        settings={"steps": 2000, "lr": 1e-3, "seed": 0, "average": 0.995},
        batch=32,
        starts_from=_add_codes_for_new_colour,
    ),
    "any_to_any": Recipe(
        about="one diffusion transformer for words, pictures and speech: 7 words, 36 tokens of vqvae_colours and 52 of "
        "vqvae_sound; it starts from joint_scenes",
        learns_from=_triples_shown,
        loss=_loss_of_any,
        scores=score_any_to_any,
        settings={"steps": 10_000, "lr": 1e-3, "seed": 0, "average": 0.999},
        batch=64,
        learned_from="the course's spoken words, and scenes that it draws itself",
        starts_from=take_over_joint_scenes,
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
    model = models.build(name)
    if recipe.starts_from:
        recipe.starts_from(model)
    model = model.to(device)
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
