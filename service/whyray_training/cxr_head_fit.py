"""What teaching a local head is made of, whatever it is taught: one cycle of AdamW, and batches of drawn views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from whyray_training.cxr_local_net import Head
from whyray_training.cxr_local_views import View


@dataclass(frozen=True)
class Cycle:
    """How weights are moved. batch: radiographs in a step; rate: the highest of the cycle; decay: of the weights."""

    epochs: int
    rate: float = 3e-3
    decay: float = 0.05
    batch: int = 32


def teach(
    head: Head,
    cycle: Cycle,
    steps: int,
    epoch: Callable[[], NDArray[np.int64]],
    loss: Callable[[NDArray[np.int64]], Tensor],
) -> Head:
    """Teach the head by AdamW in one cycle (Smith and Topin 2019), and leave it ready to answer.

    `epoch` gives the radiographs of an epoch in their order, of which `steps` batches are taken; `loss` is that of the
    radiographs of a batch.
    """
    head.train()
    optimiser = torch.optim.AdamW(head.parameters(), cycle.rate, weight_decay=cycle.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, cycle.rate, total_steps=max(3, cycle.epochs * steps), pct_start=0.2
    )
    for _ in range(cycle.epochs):
        order = epoch()
        for step in range(steps):
            surprise = loss(order[step * cycle.batch : (step + 1) * cycle.batch])
            optimiser.zero_grad()
            surprise.backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 5.0)
            optimiser.step()
            schedule.step()
    head.eval()
    return head


def stacked(drawn: Sequence[View], rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, places, field and marks (n, ...) of radiographs, of each by the view that was drawn for it."""
    chosen = [(view, view.at[int(row)]) for view, row in zip(drawn, rows, strict=True)]
    return (
        torch.stack([view.features[at] for view, at in chosen]).float(),
        torch.stack([view.places[at] for view, at in chosen]),
        torch.stack([view.field[at] for view, at in chosen]),
        torch.stack([view.marks[at] for view, at in chosen]),
    )
