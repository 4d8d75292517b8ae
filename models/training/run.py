"""What every training here shares: the optimizer, its schedule, progress, and resuming after an interruption."""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import nn

WARM_UP = 100
LOG_EVERY = 50
SAVE_EVERY = 500
LOWEST = 0.02  # of the peak rate, at the end
WEIGHT_DECAY = 0.02


class Optimizers:
    """Muon for the matrices inside the layers, AdamW for everything else.

    Muon's updates are scaled to AdamW's size, so that one rate serves both (arXiv 2502.16982).
    """

    def __init__(self, modules: dict[str, nn.Module], rate: float, shares: dict[str, float] | None = None) -> None:
        """`shares` scales the rate of a module by its name; 1 if it is not named."""
        shares = shares or {}
        matrices, others = [], []
        for name, module in modules.items():
            share = shares.get(name, 1.0)
            inside = [p for key, p in module.named_parameters() if _is_matrix(key, p)]
            rest = [p for key, p in module.named_parameters() if not _is_matrix(key, p)]
            matrices.append({"params": inside, "share": share})
            others.append({"params": rest, "share": share})
        self.parameters = [p for group in (*matrices, *others) for p in group["params"]]
        self._rate = rate
        self._both = (
            torch.optim.Muon(
                [g for g in matrices if g["params"]], lr=rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW([g for g in others if g["params"]], lr=rate, betas=(0.9, 0.95), weight_decay=0.0),
        )

    def step(self, loss: torch.Tensor, scale: float) -> None:
        """One step down `loss` at `scale` of the peak rate."""
        for optimizer in self._both:
            for group in optimizer.param_groups:
                group["lr"] = group["share"] * self._rate * scale
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimizer in self._both:
            optimizer.step()

    def state_dict(self) -> list[dict]:
        return [optimizer.state_dict() for optimizer in self._both]

    def load_state_dict(self, state: list[dict]) -> None:
        for optimizer, one in zip(self._both, state, strict=True):
            optimizer.load_state_dict(one)


def _is_matrix(name: str, parameter: nn.Parameter) -> bool:
    return parameter.ndim == 2 and "layers." in name


def train(
    name: str,
    modules: dict[str, nn.Module],
    optimizers: Optimizers,
    steps: int,
    work: Path,
    loss_at: Callable[[int], dict[str, torch.Tensor]],
    evaluate: Callable[[], dict[str, float]],
) -> None:
    """Run `steps` steps of the sum of the losses that `loss_at(step)` gives, saving and evaluating on the way.

    Goes on from `work/NAME.pt` where that is there; a finished training only loads its weights.
    """
    newest = work / f"{name}.pt"
    first = 0
    if newest.exists():
        state = torch.load(newest, weights_only=True)
        for key, module in modules.items():
            module.load_state_dict(state["modules"][key])
        optimizers.load_state_dict(state["optimizers"])
        first = state["step"]
    started = time.monotonic()
    for step in range(first, steps):
        with torch.autocast("cpu", torch.bfloat16):
            losses = loss_at(step)
        optimizers.step(sum(losses.values()), _rate_scale(step, steps))
        if (step + 1) % LOG_EVERY == 0:
            pace = (time.monotonic() - started) / (step + 1 - first)
            parts = " ".join(f"{key} {loss.item():.3f}" for key, loss in losses.items())
            left = pace * (steps - step - 1) / 60
            print(f"{name} {step + 1}/{steps} {parts} | {pace:.2f} s/step, {left:.0f} min left", flush=True)
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            with torch.autocast("cpu", torch.bfloat16):
                print(name, step + 1, evaluate(), flush=True)
            state = {
                "modules": {key: module.state_dict() for key, module in modules.items()},
                "optimizers": optimizers.state_dict(),
                "step": step + 1,
            }
            torch.save(state, newest.with_suffix(".new"))
            newest.with_suffix(".new").replace(newest)


def _rate_scale(step: int, steps: int) -> float:
    """Warm, hold, and a linear fall over the last half: a run can be lengthened without starting anew."""
    return min(1.0, (step + 1) / WARM_UP, max(LOWEST, 2 * (1 - step / steps)))


def arguments(
    description: str,
    *,
    out: Path,
    steps: int,
    rate: float,
    folders: Mapping[str, tuple[Path, str]] = MappingProxyType({}),
) -> argparse.Namespace:
    """The command line of a training; `folders` are further ones it reads: default and meaning by name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints to go on from")
    parser.add_argument("--out", type=Path, default=out, help="folder of the finished model")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--rate", type=float, default=rate, help="peak learning rate")
    parser.add_argument("--threads", type=int, default=2)
    for name, (folder, meaning) in folders.items():
        parser.add_argument(f"--{name}", type=Path, default=folder, help=meaning)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    torch._dynamo.config.recompile_limit = 32  # beyond it a model silently runs uncompiled
    args.work.mkdir(parents=True, exist_ok=True)
    return args
