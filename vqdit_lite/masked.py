"""Masked diffusion: corrupt tokens by hiding them, learn to tell what was hidden, and fill in step by step."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vqdit_lite.schedule import Schedule, stratified_times

__all__ = [
    "MaskedDiffusion",
    "ancestral_step",
    "bound_weight",
    "confidence_step",
    "draw_tokens",
    "estimate_nelbo",
    "unmask",
    "weighted_nll",
]

Denoiser = Callable[..., Tensor]  # called as denoiser(x_t, t): logits (B, N, V) of what each token was

# ---------------------------------------------------------------- one step towards the data


def ancestral_step(
    x: Tensor, drawn: Tensor, mask_id: int, alpha_bar: float, next_alpha_bar: float, eta: float, u: Tensor
) -> Tensor:
    """One step of the reverse process: some hidden tokens are filled in, and some known ones hidden again.

    Args:
        x: ids, (B, N), hidden where they are `mask_id`.
        drawn: what the denoiser would fill in, (B, N).
        alpha_bar, next_alpha_bar: the share of known tokens at the time of x, and at the earlier time.
        eta: 0 keeps what was filled in; 1 hides as much of it again as the process allows.
        u: uniform on [0, 1), (B, N).

    Source: arXiv 2406.07524, eq. 6; hiding again arXiv 2503.00307, section 3.

    >>> x, drawn, u = torch.tensor([[7, 7, 2]]), torch.tensor([[0, 1, 0]]), torch.tensor([[0.4, 0.6, 0.1]])
    >>> ancestral_step(x, drawn, 7, alpha_bar=0.0, next_alpha_bar=0.5, eta=0.0, u=u)
    tensor([[0, 7, 2]])
    """
    hide = eta * min(1.0, (1 - next_alpha_bar) / max(alpha_bar, 1e-12))  # the share of known tokens to hide again
    fill = (next_alpha_bar - (1 - hide) * alpha_bar) / (1 - alpha_bar)  # the share of hidden tokens to fill in, (8.6)
    hidden = x == mask_id
    return torch.where(hidden, drawn.where(u < fill, mask_id), x.where(u >= hide, mask_id))


def confidence_step(x: Tensor, drawn: Tensor, mask_id: int, confidence: Tensor, left: Tensor) -> Tensor:
    """One step of MaskGIT: fill in the hidden tokens that the denoiser is surest of.

    Args:
        x, drawn: as in `ancestral_step`.
        confidence: how sure it is of each drawn token, (B, N).
        left: how many tokens of each row stay hidden, (B,).

    Source: arXiv 2202.04200, section 3.2.

    >>> x, drawn = torch.tensor([[7, 7, 2]]), torch.tensor([[0, 1, 0]])
    >>> confidence_step(x, drawn, 7, confidence=torch.tensor([[0.3, 0.8, 0.1]]), left=torch.tensor([1]))
    tensor([[7, 1, 2]])
    """
    hidden = x == mask_id
    rank = confidence.masked_fill(~hidden, torch.inf).argsort(1).argsort(1)  # (B, N) 0 for the least sure
    return torch.where(hidden & (rank >= left[:, None]), drawn, x)


# ---------------------------------------------------------------- the loss and the bound


def bound_weight(schedule: Schedule, t: Tensor) -> Tensor:
    """The weight of hidden tokens in the bound of -log p, like times t: the rate at which they are revealed.

    Sources: arXiv 2406.07524, arXiv 2406.04329.

    >>> from vqdit_lite.schedule import linear
    >>> bound_weight(linear(), torch.tensor([0.25, 0.5]))
    tensor([4., 2.])
    """
    with torch.inference_mode(False), torch.enable_grad():
        time = t.detach().clone().double().requires_grad_()
        log_hidden = (1 - schedule.alpha_bar(time)).log().sum()
        return torch.autograd.grad(log_hidden, time)[0].to(t)  # 1/t where alpha_bar = 1 - t, (8.5)


def weighted_nll(
    diffusion: "MaskedDiffusion",
    denoiser: Denoiser,
    x0: Tensor,
    t: Tensor,
    u: Tensor,
    frozen: Tensor | None = None,
    **given: Any,
) -> Tensor:
    """The weighted negative log-likelihood of each token of x0 that is hidden at times t; 0 for known tokens.

    Args:
        diffusion: hides tokens, and weighs times.
        denoiser: called as denoiser(x_t, t, **given).
        x0: ids, (B, N).
        t: times, (B,) or (B, N).
        u: uniform on [0, 1), (B, N): decides what is hidden.
        frozen: true for tokens that are never hidden, (N,) or (B, N).

    Returns:
        Nats, (B, N).
    """
    _check_frozen(frozen, x0)
    x = diffusion.corrupt(x0, t, u)
    x = x if frozen is None else x0.where(frozen.to(x.device), x)
    logits = diffusion.read(denoiser, x, t, **given)
    _check_known(x0, logits)
    hidden = x == diffusion.mask_id  # (B, N)
    nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none").where(hidden, 0)  # (B, N)
    weight = diffusion.weight(t if t.ndim == 2 else t[:, None]).where(hidden, 0)  # (B, N)
    return weight * nll  # (8.5)


@torch.no_grad()
def estimate_nelbo(
    diffusion: "MaskedDiffusion",
    denoiser: Denoiser,
    x0: Tensor,
    generator: torch.Generator,
    draws: int = 16,
    times: str = "stratified",
    frozen: Tensor | None = None,
    **given: Any,
) -> Tensor:
    """An upper bound of -log p of the ids x0 (B, N) that are not frozen, (B,), in nats, whatever the `weighting`.

    Args:
        diffusion: hides tokens.
        denoiser: called as denoiser(x_t, t, **given).
        x0: ids, (B, N).
        generator: a CPU generator, for times and masks.
        draws: how many masks. All rows share their times and masks, so that their differences scatter less.
        times: "stratified" (spread evenly) or "antithetic" (in pairs t and 1 - t).
        frozen: true for tokens that are never hidden, (N,) or (B, N).
    """
    _check_draws(x0, diffusion.mask_id, draws, times)
    if times == "stratified":
        t = stratified_times(draws, generator)
    else:
        half = torch.rand(draws // 2, generator=generator).clamp(1e-6, 1 - 1e-6)
        t = torch.cat([half, 1 - half])  # (draws,)
    u = torch.rand(draws, 1, x0.shape[1], generator=generator).expand(-1, len(x0), -1)  # (draws, B, N)
    bound = MaskedDiffusion(diffusion.schedule, diffusion.mask_id, "bound")
    nats = [
        weighted_nll(bound, denoiser, x0, time.expand(len(x0)), mask, frozen, **given).sum(1)  # (B,)
        for time, mask in zip(t.to(x0.device), u.to(x0.device), strict=True)
    ]
    return torch.stack(nats).mean(0)  # (B,)


# ---------------------------------------------------------------- the way back


def draw_tokens(logits: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Tokens (B, N) drawn from logits (B, N, V) by a CPU generator, and the logarithm of the probability of each.

    >>> drawn, log_p = draw_tokens(torch.tensor([[[0.0, -torch.inf]]]), torch.Generator())
    >>> drawn, log_p
    (tensor([[0]]), tensor([[0.]]))
    """
    log_p = logits.log_softmax(-1)
    drawn = torch.multinomial(log_p.exp().flatten(0, 1).cpu(), 1, generator=generator).to(logits.device)  # (B·N, 1)
    drawn = drawn.view(logits.shape[:-1])  # (B, N)
    return drawn, log_p.gather(-1, drawn[..., None])[..., 0]


@torch.no_grad()
def unmask(
    diffusion: "MaskedDiffusion",
    denoiser: Denoiser,
    start: Tensor,
    times: Tensor,
    method: str = "ancestral",
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    frozen: Tensor | None = None,
    temperature: float = 1.0,
    choice_temperature: float = 0.0,
) -> Iterator[Tensor]:
    """Fill in what is not frozen, and yield the ids at each of the times, first with everything else hidden.

    Arguments are checked when the first ids are asked for.

    Args:
        diffusion: says what the mask is, and how many tokens are known at a time.
        denoiser: called as denoiser(x, t) with ids x like `start` and t (B,).
        start: ids, (B, N); only those that are frozen matter.
        times: falling from 1 to 0, as `time_grid` makes them.
        method: "ancestral" (each token at a time of its own, by chance), "random" (so many tokens a step as the
            schedule says, but at least one, in random order) or "confidence" (as many, the surest first).
        eta: for "ancestral": how much is hidden again, from 0 to 1.
        generator: a CPU generator; it draws tokens and order.
        frozen: true for tokens that stay, (N,) or (B, N).
        temperature: below 1, likely tokens become likelier.
        choice_temperature: for "confidence": chance in the order, most at the start, none in the end.

    Raises:
        FloatingPointError: the denoiser returned NaN or infinity.
    """
    _check_sampling(diffusion.mask_id, start, times, method, eta, generator, frozen, temperature, choice_temperature)
    frozen = torch.zeros_like(start).bool() if frozen is None else frozen.to(start.device).expand(start.shape)
    free, times = (~frozen).sum(1), times.double().cpu()  # (B,), (steps + 1,)
    moments = zip(times.tolist(), diffusion.schedule.alpha_bar(times).tolist(), strict=True)
    x = start.where(frozen, diffusion.mask_id)
    yield x
    for step, ((t, alpha_bar), (next_t, next_alpha_bar)) in enumerate(pairwise(moments), 2):
        logits = diffusion.read(denoiser, x, torch.full((len(x),), t, device=x.device))
        drawn, log_p = draw_tokens(logits.double() / temperature, generator)
        u = torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device)
        if method == "ancestral":
            x = start.where(frozen, ancestral_step(x, drawn, diffusion.mask_id, alpha_bar, next_alpha_bar, eta, u))
        else:
            gumbel = -(-u.clamp(min=1e-300).log()).log()
            confidence = gumbel if method == "random" else log_p + choice_temperature * next_t * gumbel  # (8.7)
            left = (free.double() * (1 - next_alpha_bar) + 1e-9).floor()  # (B,) as the schedule says,
            left = left.clamp(min=len(times) - step)  # but one for each step to come,
            left = left.minimum((x == diffusion.mask_id).sum(1) - 1)  # and at least one is filled in now
            x = confidence_step(x, drawn, diffusion.mask_id, confidence, left)
        yield x


# ---------------------------------------------------------------- the process


class MaskedDiffusion:
    """The corruption that hides each token by chance, the loss of a denoiser, and the way back.

    A denoiser is any callable: denoiser(x_t, t) with ids x_t (B, N) and times t (B,) in [0, 1] returns logits
    (B, N, V). Tokens are numbered 0 … V - 1. Two methods are functions of this module: `nelbo` is `estimate_nelbo`, and
    `sample` is `unmask`.

    Args:
        schedule: its alpha_bar(t) is the share of tokens that are known at time t; 0 at t = 1.
        mask_id: the id that stands for a hidden token, V or above.
        weighting: the loss weight of a time: "bound" (the loss is a bound of the negative log-likelihood), "bounded"
            (the same, but at most 10) or "unweighted" (1).

    Sources: arXiv 2406.07524, arXiv 2406.04329; unweighted arXiv 2202.04200.

    >>> from vqdit_lite.schedule import linear, time_grid
    >>> diffusion = MaskedDiffusion(linear(), mask_id=2)
    >>> even = lambda x, t: torch.zeros(*x.shape, 2)  # knows nothing: each token is 0 or 1 with the same chance
    >>> *_, x = diffusion.sample(even, torch.full((3, 4), 2), time_grid(4), generator=torch.Generator().manual_seed(0))
    >>> x.shape, x.max() < 2
    (torch.Size([3, 4]), tensor(True))
    """

    def __init__(self, schedule: Schedule, mask_id: int, weighting: str = "bound"):
        _check_process(schedule, mask_id, weighting)
        self.schedule, self.mask_id, self.weighting = schedule, mask_id, weighting

    def corrupt(self, x0: Tensor, t: Tensor, u: Tensor) -> Tensor:
        """x_t, like the ids x0 (B, N), at times t (B,) or (B, N), from u, uniform on [0, 1) and like x0."""
        _check_corruption(x0, t, u, self.mask_id)
        known = self.schedule.alpha_bar(t if t.ndim == 2 else t[:, None])  # (B, 1 or N)
        return x0.where(u < known, self.mask_id)  # (8.4)

    def weight(self, t: Tensor) -> Tensor:
        """The loss weight of a hidden token at times t."""
        if self.weighting == "unweighted":
            return torch.ones_like(t)
        weight = bound_weight(self.schedule, t)
        return weight if self.weighting == "bound" else weight.clamp(max=10)

    def read(self, denoiser: Denoiser, x: Tensor, t: Tensor, **given: Any) -> Tensor:
        """What a denoiser says about ids x (B, N): logits (B, N, V)."""
        logits = denoiser(x, t, **given)
        _check_logits(logits, x, self.mask_id)
        return logits

    def loss(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        generator: torch.Generator,
        t: Tensor | None = None,
        frozen: Tensor | None = None,
        token_weight: Tensor | float = 1.0,
        **given: Any,
    ) -> dict[str, Tensor]:
        """The weighted negative log-likelihood of hidden tokens, in nats for each token of x0 (B, N): {"loss": …}.

        Times and masks come from `generator`, on the CPU, unless times t, (B,) or (B, N), are given. Tokens that are
        `frozen`, (N,) or (B, N), are never hidden. Tokens of more `token_weight`, (N,), count for more. What else is
        given goes to the denoiser.
        """
        t = (stratified_times(len(x0), generator) if t is None else t).to(x0.device)
        u = torch.rand(x0.shape, generator=generator).to(x0.device)
        nll = weighted_nll(self, denoiser, x0, t, u, frozen, **given)  # (B, N)
        return {"loss": (token_weight * nll).mean()}

    nelbo = estimate_nelbo
    sample = unmask


# ---------------------------------------------------------------- what is checked


def _check_ids(ids: Tensor, mask_id: int) -> None:
    if ids.ndim != 2 or ids.dtype != torch.int64 or ids.numel() == 0:
        raise ValueError(f"Tokens are ids (batch, tokens) of torch.int64; got {ids.dtype} of {tuple(ids.shape)}.")
    if ids.min() < 0 or ids.max() >= mask_id:
        raise ValueError(f"ids must lie in 0 … {mask_id - 1}; they span {ids.min()} … {ids.max()}.")


def _check_frozen(frozen: Tensor | None, ids: Tensor) -> None:
    if frozen is not None and (frozen.dtype != torch.bool or frozen.shape not in (ids.shape, ids.shape[1:])):
        raise ValueError(
            f"frozen is true or false for each of {ids.shape[1]} tokens, ({ids.shape[1]},), or of each row, "
            f"{tuple(ids.shape)}; got {frozen.dtype} of {tuple(frozen.shape)}."
        )


def _check_process(schedule: Schedule, mask_id: int, weighting: str) -> None:
    if schedule.alpha_bar(torch.tensor(1.0)) > 1e-6:
        raise ValueError("Every token must be hidden at t = 1: put the schedule into zero_terminal_snr(…).")
    if mask_id < 1:
        raise ValueError(f"mask_id comes after the ids of all tokens, so it is at least 1; it is {mask_id}.")
    if weighting not in ("bound", "bounded", "unweighted"):
        raise ValueError(f'weighting must be "bound", "bounded" or "unweighted"; it is {weighting!r}.')


def _check_corruption(x0: Tensor, t: Tensor, u: Tensor, mask_id: int) -> None:
    _check_ids(x0, mask_id)
    if u.shape != x0.shape or t.shape not in (x0.shape[:1], x0.shape):
        raise ValueError(
            f"u must be like x0, and t one time for each row or each token; x0 is {tuple(x0.shape)}, u "
            f"{tuple(u.shape)} and t {tuple(t.shape)}."
        )


def _check_logits(logits: Tensor, x: Tensor, mask_id: int) -> None:
    if logits.shape[:-1] != x.shape or logits.shape[-1] > mask_id:
        raise ValueError(
            f"The denoiser must return logits {(*x.shape, 'V')} with V up to mask_id = {mask_id}, so that no token is "
            f"called mask; got {tuple(logits.shape)}."
        )
    if not logits.amax(-1).isfinite().all():  # of some ids it may be minus infinity, but not of all
        raise FloatingPointError("The denoiser returned NaN or infinity, or ruled out every id of a token.")


def _check_known(x0: Tensor, logits: Tensor) -> None:
    if x0.max() >= logits.shape[-1]:
        raise ValueError(f"x0 holds the id {x0.max()}, but the denoiser knows only 0 … {logits.shape[-1] - 1}.")


def _check_draws(x0: Tensor, mask_id: int, draws: int, times: str) -> None:
    _check_ids(x0, mask_id)
    if draws < 1 or times not in ("stratified", "antithetic") or (times == "antithetic" and draws % 2):
        raise ValueError(
            'times must be "stratified", with at least one draw, or "antithetic", with an even number; '
            f"got {draws} {times!r}."
        )


def _check_sampling(
    mask_id: int,
    start: Tensor,
    times: Tensor,
    method: str,
    eta: float,
    generator: torch.Generator | None,
    frozen: Tensor | None,
    temperature: float,
    choice_temperature: float,
) -> None:
    _check_ids(start, mask_id + 1)
    if frozen is not None and not frozen.any():
        raise ValueError("frozen marks no token: freeze the condition, or leave frozen out to draw everything.")
    _check_frozen(frozen, start)
    if not isinstance(times, Tensor) or times.ndim != 1 or len(times) < 2 or not (times.diff() < 0).all():
        raise ValueError(f"times must be one row of at least two falling times; got {times}.")
    if times[0] != 1 or times[-1] != 0:
        raise ValueError(f"Filling in goes from t = 1 to t = 0; times go from {times[0]:g} to {times[-1]:g}.")
    _check_method(method, eta, temperature, choice_temperature)
    if generator is None:
        raise ValueError("Tokens are drawn by chance: give a CPU generator with a seed of your choice.")
    most = 0 if frozen is None else frozen.sum(-1).max().item()  # of the tokens of a row
    if most == start.shape[1]:
        raise ValueError("Every token of a row is frozen: there is nothing to fill in.")
    if frozen is not None and (frozen.to(start.device) & (start == mask_id)).any():
        raise ValueError("A frozen token is hidden, so there is nothing to keep: give what it should be.")
    fewest, steps = start.shape[1] - most, len(times) - 1
    if method != "ancestral" and steps > fewest:
        raise ValueError(f"{steps} steps cannot fill in {fewest} tokens: with {method!r}, take at most {fewest}.")


def _check_method(method: str, eta: float, temperature: float, choice_temperature: float) -> None:
    if method not in ("ancestral", "random", "confidence"):
        raise ValueError(f'method must be "ancestral", "random" or "confidence"; it is {method!r}.')
    if not 0 <= eta <= 1 or (eta and method != "ancestral"):
        raise ValueError(f'eta lies between 0 and 1 and belongs to "ancestral"; it is {eta} with {method!r}.')
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0; it is {temperature}.")
    if not 0 <= choice_temperature < math.inf or (choice_temperature and method != "confidence"):
        raise ValueError(
            f'choice_temperature is at least 0 and belongs to "confidence"; it is {choice_temperature} with {method!r}.'
        )
