"""Training: one loop for every model of the course, which can be interrupted and resumed without loss."""

import copy
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm.auto import tqdm
from tqdm.notebook import tqdm as notebook_tqdm

from vqdit_lite import checkpoints


def pick_device() -> torch.device:
    """The device to work on: what the variable VQDIT_DEVICE names, else CUDA where there is any, else the CPU."""
    name = os.environ.get("VQDIT_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RuntimeError(f"VQDIT_DEVICE asks for {name}, but torch {torch.__version__} sees no CUDA device.")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise RuntimeError(f"VQDIT_DEVICE asks for {name!r}, which is no device of torch.") from error


def batches(x: Tensor | tuple[Tensor, ...], size: int) -> Callable[[torch.Generator], Any]:
    """A function that draws random batches (size, …) from the rows of x, or the same rows of several tensors.

    >>> draw = batches(torch.arange(10.0), size=3)
    >>> draw(torch.Generator().manual_seed(0)).shape
    torch.Size([3])
    """
    parts = (x,) if isinstance(x, Tensor) else x
    rows = len(parts[0]) if parts else 0
    if rows == 0 or size < 1 or any(len(part) != rows for part in parts):
        counts = ", ".join(str(len(part)) for part in parts)
        raise ValueError(
            f"batches needs the same rows of every tensor, at least one, and a size of at least 1; "
            f"{counts} rows and size {size} came."
        )

    def draw(generator):
        chosen = torch.randint(rows, (size,), generator=generator).to(parts[0].device)
        return x[chosen] if isinstance(x, Tensor) else tuple(part[chosen] for part in x)

    return draw


def fit(
    model: nn.Module,
    loss: Callable[[Any, torch.Generator], dict[str, Tensor]],
    batches: Callable[[torch.Generator], Any],
    *,
    steps: int,
    lr: float,
    seed: int = 0,
    warmup: int = 50,
    ema_decay: float | None = None,
    save_to: str | Path | None = None,
    save_every: int = 500,
    logger: Any = None,
) -> Iterator[dict[str, float]]:
    """Train a model with Adam, one step for each item that is taken: `for log in fit(...)`.

    The learning rate rises over `warmup` steps and falls along a cosine to zero; gradients are clipped to norm
    1; on CUDA, matrix products run in bfloat16. A bar shows progress. The model ends in evaluation mode.

    Under `torchrun`, after `torch.distributed.init_process_group()`, processes train together: all start with the
    weights of the first, each draws batches and noise of its own, and gradients are averaged. N processes do what one
    does with N times the batch, if the loss is a mean over its rows. What a model learns without gradients, as a
    `VectorQuantizer` its codes, follows the first process. That one alone shows a bar, saves and logs.

    Args:
        model: what to train, on its device.
        loss: called as loss(batch, generator); its "loss" is minimised, all its entries are logged.
        batches: called as batches(generator) for each step.
        steps: how many steps in all.
        lr: the highest learning rate.
        seed: seeds torch's CPU generator, which draws everything; of N processes, process k = 0 … N - 1 takes
            N · seed + k. Draw previews from a generator of your own.
        ema_decay: decay of an exponential moving average of the weights (say 0.999), which the model holds in the end.
        save_to: a file for the whole state of training. Where it exists, training goes on from it, and ends
            with the same weights as if it had never stopped (bit for bit on the CPU).
        save_every: steps between two saves.
        logger: anything with `add_scalar(name, value, step)`, as a SummaryWriter of TensorBoard has; it is told all
            that is yielded.

    Yields:
        "step" (from 1), "lr", and the entries of the loss as numbers.

    Raises:
        FloatingPointError: the loss is NaN or infinite. What was saved before is untouched.
        ValueError: `save_to` holds a run with other settings.

    >>> from vqdit_lite.checkpoints import same
    >>> line, x = nn.Linear(1, 1), torch.linspace(-1, 1, 64)[:, None]
    >>> logs = list(fit(line, lambda x, _: {"loss": (line(x) - 3 * x).square().mean()}, batches(x, 32),
    ...                 steps=300, lr=0.1))
    >>> round(line.weight.item(), 2)
    3.0
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1; it is {steps}.")
    device = next(model.parameters()).device
    rank, processes = _place()
    if processes > 1:
        _broadcast(model.state_dict().values())
    generator = torch.manual_seed(processes * seed + rank)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    averaged = copy.deepcopy(model) if ema_decay else None
    settings = {"steps": steps, "lr": lr, "seed": seed, "warmup": warmup, "ema_decay": ema_decay}
    settings |= {"processes": processes} if processes > 1 else {}
    done = 0
    if save_to and Path(save_to).exists():
        done = _resume(save_to, settings, model, averaged, optimizer, generator)

    bar = _progress_bar(steps, done, shown=rank == 0)
    try:
        for step in range(done + 1, steps + 1):
            model.train()
            for group in optimizer.param_groups:
                group["lr"] = lr * min(1, step / warmup) * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                parts = loss(batches(generator), generator)
            log = {name: value.item() for name, value in parts.items()}
            if not math.isfinite(log["loss"]):
                raise FloatingPointError(
                    f"The loss became {log['loss']} at step {step} of {steps}: try a lower lr than {lr}, and look for "
                    "NaN in the data. What was saved before is untouched."
                )
            optimizer.zero_grad()
            parts["loss"].backward()
            if processes > 1:
                _average_gradients(model, processes)
                _broadcast(model.buffers())
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if averaged:
                _update_ema(averaged, model, max(1 - ema_decay, 9 / (9 + step)))
            if save_to and (step % save_every == 0 or step == steps):
                _save(save_to, settings, step, model, averaged, optimizer, generator)
            bar.update()
            bar.set_postfix_str(f"loss {log['loss']:.4f}", refresh=False)
            log = {"lr": optimizer.param_groups[0]["lr"], **log}
            if logger and rank == 0:
                for name, value in log.items():
                    logger.add_scalar(name, value, step)
            yield {"step": step, **log}
    finally:
        bar.close()
    if averaged:
        model.load_state_dict(averaged.state_dict())
    model.eval()


def _place() -> tuple[int, int]:
    """Which process this is, from 0, and how many train together."""
    together = dist.is_available() and dist.is_initialized()
    return (dist.get_rank(), dist.get_world_size()) if together else (0, 1)


def _average_gradients(model: nn.Module, processes: int) -> None:
    """The mean over all processes in place of each one's own gradients, so that all take the same step."""
    for weight in model.parameters():
        if weight.grad is not None:
            dist.all_reduce(weight.grad)  # their sum
            weight.grad /= processes


def _broadcast(tensors: Iterable[Tensor]) -> None:
    """The numbers of the first process in place of each one's own."""
    for tensor in tensors:
        dist.broadcast(tensor.detach(), src=0)


@torch.no_grad()
def _update_ema(averaged: nn.Module, model: nn.Module, share: float) -> None:
    """Move the averaged weights by a share of the way to the model's; at first a large one, as it knows little."""
    for kept, new in zip(averaged.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, share)
    for kept, new in zip(averaged.buffers(), model.buffers(), strict=True):
        kept.copy_(new)


def _progress_bar(steps: int, done: int, shown: bool) -> tqdm:
    """In a notebook, the bar is shown as a widget only, without the text that would go stale on a saved page.

    One update a second is enough: more would overrun the queue of a client that reads only at the end of a cell.
    """
    if not issubclass(tqdm, notebook_tqdm) or not shown:
        return tqdm(total=steps, initial=done, mininterval=1, disable=not shown)
    from IPython.display import display

    bar = tqdm(total=steps, initial=done, display=False, mininterval=1)
    display(bar.container, exclude=["text/plain"])
    return bar


def _save(path, settings, step, model, averaged, optimizer, generator) -> None:
    rank, processes = _place()
    states = [generator.get_state()] * processes
    if processes > 1:
        dist.all_gather_object(states, states[0])  # each draws from a generator of its own
    if rank > 0:
        return
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    if averaged:
        tensors |= {f"averaged.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in state.items()}
    tensors["generator"] = torch.cat(states)
    checkpoints.write(path, tensors, {"settings": settings, "step": step})


def _resume(path, settings, model, averaged, optimizer, generator) -> int:
    """Load what `_save` wrote, and return how many steps are done."""
    tensors, notes = checkpoints.read(path)
    if notes.get("settings") != settings:
        raise ValueError(
            f"{path} holds a run with other settings: {notes.get('settings')} there, {settings} here. "
            "Give the old settings, or another file."
        )

    def part(prefix):
        return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

    try:
        model.load_state_dict(part("model."))
        if averaged:
            averaged.load_state_dict(part("averaged."))
    except RuntimeError as error:
        raise ValueError(f"{path} holds a run of another model ({error}).") from error
    state = {}
    for name, tensor in part("optimizer.").items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    rank, processes = _place()
    states = tensors["generator"].view(processes, -1)
    generator.set_state(states[rank].clone())  # a tensor of its own: a view would be read from its beginning
    return notes["step"]
