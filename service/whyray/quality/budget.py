"""What a quality card may cost."""

from __future__ import annotations

from dataclasses import dataclass

from whyray.inference import Model


@dataclass(frozen=True)
class Budget:
    """Bounds of one card.

    Attributes
    ----------
    forwards
        At most so many forward passes (a pass back counts as two). The first card of an image pays for the random
        orders, which all further cards of that image share.
    steps
        Points of a deletion curve, ends not counted once each.
    random_orders
        Random orders that deletion and insertion are compared with; fewer where the budget is short.
    repeats
        Whether the method is run again on changed images (stability) and for another target, where that is affordable.
    """

    forwards: int = 100
    steps: int = 5
    random_orders: int = 9
    repeats: bool = True

    @property
    def least(self) -> int:
        """Forward passes that the curves of one map take with two random orders, fewer than which there never are."""
        return 2 + 2 * (self.steps - 1) * 4

    @classmethod
    def for_model(cls, model: Model) -> Budget:
        """The default: 100 forward passes for an image, 36 for a volume, whose passes take as many times longer."""
        return cls() if len(model.spatial_shape) == 2 else cls(forwards=36, steps=4, random_orders=3)
