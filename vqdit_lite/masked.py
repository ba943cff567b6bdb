"""Masked diffusion: corrupt tokens by hiding them, learn to tell what was hidden, and fill in step by step."""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vqdit_lite.schedule import Schedule, stratified_times

__all__ = ["MaskedDiffusion", "ancestral_step", "confidence_step"]

Denoiser = Callable[..., Tensor]  # called as denoiser(x_t, t): logits (B, N, V) of what each token was
_HIGHEST_WEIGHT = 10.0  # of a time, where weights are "bounded"


# ---------------------------------------------------------------- one step towards the data


def ancestral_step(
    x: Tensor, drawn: Tensor, mask_id: int, now: float, then: float, eta: float, fresh: Tensor
) -> Tensor:
    """One step of the reverse process: some hidden tokens are filled in, and some known ones hidden again.

    Args:
        x: ids, (B, N), hidden where they are `mask_id`.
        drawn: what the denoiser would fill in, (B, N).
        now, then: alpha_bar, the share of known tokens, at the two times.
        eta: 0 keeps what was filled in; 1 hides as much of it again as the process allows.
        fresh: uniform on [0, 1), (B, N).

    Source: arXiv 2406.07524, eq. 6; hiding again arXiv 2503.00307, section 3.

    >>> x, drawn = torch.tensor([[7, 7, 2]]), torch.tensor([[0, 1, 0]])
    >>> ancestral_step(x, drawn, 7, now=0.0, then=0.5, eta=0.0, fresh=torch.tensor([[0.4, 0.6, 0.1]]))
    tensor([[0, 7, 2]])
    """
    hide = eta * min(1.0, (1 - then) / max(now, 1e-12))  # the share of known tokens to hide again
    fill = (then - (1 - hide) * now) / (1 - now)  # the share of hidden tokens to fill in, (8.6)
    hidden = x == mask_id
    return torch.where(hidden, drawn.where(fresh < fill, mask_id), x.where(fresh >= hide, mask_id))


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


# ---------------------------------------------------------------- the process


class MaskedDiffusion:
    """The corruption that hides each token by chance, the loss of a denoiser, and the way back.

    A denoiser is any callable: denoiser(x_t, t) with ids x_t (B, N) and times t (B,) in [0, 1] returns logits
    (B, N, V). Tokens are numbered 0 … V - 1.

    Args:
        schedule: its alpha_bar(t) is the share of tokens that are known at time t; 0 at t = 1.
        mask_id: the id that stands for a hidden token, V or above.
        weighting: what the loss at a time counts: "bound" (the loss is a bound of the negative log-likelihood),
            "bounded" (the same, but at most 10) or "unweighted" (1).

    Sources: arXiv 2406.07524, arXiv 2406.04329; unweighted arXiv 2202.04200.

    >>> from vqdit_lite.schedule import linear, time_grid
    >>> diffusion = MaskedDiffusion(linear(), mask_id=2)
    >>> even = lambda x, t: torch.zeros(*x.shape, 2)  # knows nothing: each token is 0 or 1 with the same chance
    >>> *_, x = diffusion.sample(even, torch.full((3, 4), 2), time_grid(4), generator=torch.Generator().manual_seed(0))
    >>> x.shape, x.max() < 2
    (torch.Size([3, 4]), tensor(True))
    """

    def __init__(self, schedule: Schedule, mask_id: int, weighting: str = "bound"):
        if schedule.alpha_bar(torch.tensor(1.0)) > 1e-6:
            raise ValueError("Every token must be hidden at t = 1: put the schedule into zero_terminal_snr(…).")
        if mask_id < 1:
            raise ValueError(f"mask_id comes after the ids of all tokens, so it is at least 1; it is {mask_id}.")
        if weighting not in ("bound", "bounded", "unweighted"):
            raise ValueError(f'weighting must be "bound", "bounded" or "unweighted"; it is {weighting!r}.')
        self.schedule, self.mask_id, self.weighting = schedule, mask_id, weighting

    def corrupt(self, x0: Tensor, t: Tensor, fresh: Tensor) -> Tensor:
        """x_t, like the ids x0 (B, N), at times t (B,) or (B, N), from `fresh`, uniform on [0, 1) and like x0."""
        _check_ids(x0, self.mask_id)
        if fresh.shape != x0.shape or t.shape not in (x0.shape[:1], x0.shape):
            raise ValueError(
                f"fresh must be like x0, and t one time for each row or each token; x0 is {tuple(x0.shape)}, fresh "
                f"{tuple(fresh.shape)} and t {tuple(t.shape)}."
            )
        known = self.schedule.alpha_bar(t if t.ndim == 2 else t[:, None])  # (B, 1 or N)
        return x0.where(fresh < known, self.mask_id)  # (8.4)

    def weight(self, t: Tensor) -> Tensor:
        """What the loss of a hidden token counts at times t."""
        if self.weighting == "unweighted":
            return torch.ones_like(t)
        weight = self._weight_of_bound(t)
        return weight if self.weighting == "bound" else weight.clamp(max=_HIGHEST_WEIGHT)

    def _weight_of_bound(self, t: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            time = t.detach().clone().double().requires_grad_()
            log_hidden = (1 - self.schedule.alpha_bar(time)).log().sum()
            return torch.autograd.grad(log_hidden, time)[0].to(t)  # 1/t where alpha_bar = 1 - t, (8.5)

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
        """The weighted surprise of the denoiser about hidden tokens, in nats for each token of x0 (B, N): {"loss": …}.

        Times and masks come from `generator`, on the CPU, unless times t, (B,) or (B, N), are given. Tokens that are
        `frozen`, (N,) or (B, N), are never hidden. Tokens of more `token_weight`, (N,), count for more. What else is
        given goes to the denoiser.
        """
        t = (stratified_times(len(x0), generator) if t is None else t).to(x0.device)
        fresh = torch.rand(x0.shape, generator=generator).to(x0.device)
        return {
            "loss": (token_weight * self._weighted_nll(denoiser, x0, t, fresh, frozen, self.weight, **given)).mean()
        }

    @torch.no_grad()
    def nelbo(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        generator: torch.Generator,
        draws: int = 16,
        times: str = "stratified",
        frozen: Tensor | None = None,
        **given: Any,
    ) -> Tensor:
        """An upper bound of -log p of the ids x0 (B, N) that are not frozen, (B,), in nats, whatever `weighting`.

        Args:
            draws: how many masks. All rows share their times and masks, so that their differences scatter less.
            times: "stratified" (spread evenly) or "antithetic" (in pairs t and 1 - t).
        """
        _check_ids(x0, self.mask_id)
        if draws < 1 or times not in ("stratified", "antithetic") or (times == "antithetic" and draws % 2):
            raise ValueError(
                f'It takes at least one draw, "stratified", or an even number, "antithetic"; {draws} {times!r} came.'
            )
        if times == "stratified":
            t = stratified_times(draws, generator)
        else:
            half = torch.rand(draws // 2, generator=generator).clamp(1e-6, 1 - 1e-6)
            t = torch.cat([half, 1 - half])  # (draws,)
        fresh = torch.rand(draws, 1, x0.shape[1], generator=generator).expand(-1, len(x0), -1).to(x0.device)
        bounds = [
            self._weighted_nll(denoiser, x0, time.expand(len(x0)), mask, frozen, self._weight_of_bound, **given).sum(1)
            for time, mask in zip(t.to(x0.device), fresh, strict=True)
        ]
        return torch.stack(bounds).mean(0)  # (B,)

    def _weighted_nll(
        self,
        denoiser: Denoiser,
        x0: Tensor,
        t: Tensor,
        fresh: Tensor,
        frozen: Tensor | None,
        weight: Callable[[Tensor], Tensor],
        **given: Any,
    ) -> Tensor:
        """The weighted surprise about each token, (B, N), zero where it is not hidden."""
        x = self.corrupt(x0, t, fresh)
        x = x0.where(_check_frozen(frozen, x0), x)
        logits = self.read(denoiser, x, t, **given)
        if x0.max() >= logits.shape[-1]:
            raise ValueError(f"x0 holds the id {x0.max()}, but the denoiser knows only 0 … {logits.shape[-1] - 1}.")
        hidden = x == self.mask_id  # (B, N)
        nll = F.cross_entropy(logits.transpose(1, 2), x0, reduction="none").where(hidden, 0)  # (B, N)
        weights = weight(t if t.ndim == 2 else t[:, None]).where(hidden, 0)  # (B, N)
        return weights * nll  # (8.5)

    def read(self, denoiser: Denoiser, x: Tensor, t: Tensor, **given: Any) -> Tensor:
        """What a denoiser says about ids x (B, N): logits (B, N, V)."""
        logits = denoiser(x, t, **given)
        if logits.shape[:-1] != x.shape or logits.shape[-1] > self.mask_id:
            raise ValueError(
                f"The denoiser must return logits {(*x.shape, 'V')} with V up to mask_id = {self.mask_id}, so that no "
                f"token is called mask; {tuple(logits.shape)} came."
            )
        if not logits.amax(-1).isfinite().all():  # of some ids it may be minus infinity, but not of all
            raise FloatingPointError("The denoiser returned NaN or infinity, or ruled out every id of a token.")
        return logits

    @torch.no_grad()
    def sample(
        self,
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

        Args:
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
        _check_ids(start, self.mask_id + 1)
        if frozen is not None and not frozen.any():
            raise ValueError("frozen marks no token: freeze the condition, or leave frozen out to draw everything.")
        frozen = _check_frozen(frozen, start)  # (B, N)
        _check_sampling(start, self.mask_id, times, method, eta, generator, frozen, temperature, choice_temperature)
        free = (~frozen).sum(1)  # (B,)
        times = times.double().cpu()
        moments = list(zip(times.tolist(), self.schedule.alpha_bar(times).tolist(), strict=True))
        x = start.where(frozen, self.mask_id)
        yield x
        for step, ((t, now), (t_then, then)) in enumerate(pairwise(moments), 2):
            logits = self.read(denoiser, x, torch.full((len(x),), t, device=x.device))
            drawn, log_p = _draw(logits.double() / temperature, generator)
            fresh = torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device)
            if method == "ancestral":
                x = start.where(frozen, ancestral_step(x, drawn, self.mask_id, now, then, eta, fresh))
            else:
                gumbel = -(-fresh.clamp(min=1e-300).log()).log()
                confidence = gumbel if method == "random" else log_p + choice_temperature * t_then * gumbel  # (8.7)
                left = (free.double() * (1 - then) + 1e-9).floor()  # (B,) as the schedule says, and one for each step
                left = left.clamp(min=len(times) - step).minimum((x == self.mask_id).sum(1) - 1)
                x = confidence_step(x, drawn, self.mask_id, confidence, left)
            yield x


def _draw(logits: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (B, N) drawn from logits (B, N, V), and the logarithm of the probability of each."""
    log_p = logits.log_softmax(-1)
    drawn = torch.multinomial(log_p.exp().flatten(0, 1).cpu(), 1, generator=generator).to(logits.device)  # (B·N, 1)
    drawn = drawn.view(logits.shape[:-1])  # (B, N)
    return drawn, log_p.gather(-1, drawn[..., None])[..., 0]


def _check_ids(ids: Tensor, mask_id: int) -> None:
    if ids.ndim != 2 or ids.dtype != torch.int64 or ids.numel() == 0:
        raise ValueError(f"Tokens are ids (batch, tokens) of torch.int64; {ids.dtype} of {tuple(ids.shape)} came.")
    if ids.min() < 0 or ids.max() >= mask_id:
        raise ValueError(f"ids must lie in 0 … {mask_id - 1}; they span {ids.min()} … {ids.max()}.")


def _check_frozen(frozen: Tensor | None, ids: Tensor) -> Tensor:
    """Which tokens stay, (B, N) true or false."""
    if frozen is None:
        return torch.zeros_like(ids, dtype=torch.bool)
    if frozen.dtype != torch.bool or frozen.shape not in (ids.shape, ids.shape[1:]):
        raise ValueError(
            f"frozen is true or false for each of {ids.shape[1]} tokens, ({ids.shape[1]},), or of each row, "
            f"{tuple(ids.shape)}; {frozen.dtype} of {tuple(frozen.shape)} came."
        )
    return frozen.to(ids.device).expand(ids.shape)


def _check_sampling(start, mask_id, times, method, eta, generator, frozen, temperature, choice_temperature) -> None:
    if not isinstance(times, Tensor) or times.ndim != 1 or len(times) < 2 or not (times.diff() < 0).all():
        raise ValueError(f"times must be one row of at least two falling times; {times} came.")
    if times[0] != 1 or times[-1] != 0:
        raise ValueError(f"Filling in goes from t = 1 to t = 0; times go from {times[0]:g} to {times[-1]:g}.")
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
    if generator is None:
        raise ValueError("Tokens are drawn by chance: give a CPU generator with a seed of your choice.")
    if frozen.all(1).any():
        raise ValueError("Every token of a row is frozen: there is nothing to fill in.")
    if (start[frozen] == mask_id).any():
        raise ValueError("A frozen token is hidden, so there is nothing to keep: give what it should be.")
    fewest, steps = (~frozen).sum(1).min().item(), len(times) - 1
    if method != "ancestral" and steps > fewest:
        raise ValueError(f"{steps} steps cannot fill in {fewest} tokens: with {method!r}, take at most {fewest}.")
