"""The chest autoencoder: a linear code of the coarse picture, corrected by small convolutional nets on both sides.

The linear part starts as the principal components of the training images at 64 x 64 (few images give hundreds of
well-placed directions); the nets learn what the components leave out, above all the texture that findings rest on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from whyray.base.arrays import FloatArray

SIZE, COARSE = 128, 64
LATENTS = 256
WIDTH, DEEP, GUIDE = 64, 96, 32


class Encoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 128, 128) in 0..1 to latents (N, 256), each of about unit variance over the training images."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(COARSE * COARSE, LATENTS)
        self.net = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, WIDTH, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, DEEP, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(DEEP, 16, 1),
            nn.Flatten(),
        )
        self.correct = _silent(nn.Linear(16 * 8 * 8, LATENTS))

    def forward(self, image: Tensor) -> Tensor:
        """As in the class."""
        coarse = functional.avg_pool2d(image, SIZE // COARSE).flatten(1)
        latents: Tensor = self.linear(coarse) + self.correct(self.net(image - 0.5))
        return latents


class Residual(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """x + conv(relu(conv(relu(x)))), the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W)."""
        y: Tensor = x + self.second(functional.relu(self.first(functional.relu(x))))
        return y


class Decoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Latents (N, 256) to a picture (N, 1, 128, 128), not yet cut to 0..1."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENTS, COARSE * COARSE)
        self.guide = nn.Linear(LATENTS, GUIDE * 8 * 8)
        self.deep = nn.Sequential(nn.Conv2d(GUIDE, WIDTH, 3, padding=1), Residual(WIDTH))
        self.join = nn.Conv2d(WIDTH + 4, WIDTH, 3, padding=1)
        self.net = nn.Sequential(Residual(WIDTH), Residual(WIDTH), nn.ReLU(), nn.Conv2d(WIDTH, 64, 3, padding=1))
        self.last = _silent(nn.Conv2d(4, 1, 3, padding=1))

    def forward(self, latents: Tensor) -> Tensor:
        """As in the class."""
        coarse = self.linear(latents).view(-1, 1, COARSE, COARSE)
        deep = self.deep(self.guide(latents).view(-1, GUIDE, 8, 8))
        deep = functional.interpolate(deep, scale_factor=4, mode="bilinear", align_corners=False)
        seen = torch.cat([deep, functional.pixel_unshuffle(coarse - 0.5, 2)], dim=1)
        fine = self.last(functional.pixel_shuffle(self.net(self.join(seen)), 4))
        base = functional.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
        picture: Tensor = base + fine
        return picture


class Autoencoder(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """(N, 1, 128, 128) in 0..1 to reconstruction (N, 1, 128, 128) in 0..1 and latents (N, 256): what is shipped."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction, latents."""
        latents = self.encoder(image)
        return self.decoder(latents).clamp(0, 1), latents


def with_components(net: Autoencoder, pictures: FloatArray) -> Autoencoder:
    """The net with its linear layers set to the principal components of `pictures` (M, 128, 128) at 64 x 64.

    Fewer pictures than latents (a trial run) leave the other latents silent.
    """
    coarse = pictures.reshape(len(pictures), COARSE, 2, COARSE, 2).mean(axis=(2, 4)).reshape(len(pictures), -1)
    middle = coarse.mean(axis=0, dtype=np.float64)
    centred = torch.from_numpy((coarse - middle).astype(np.float32))
    _, values, basis = torch.pca_lowrank(centred, q=min(LATENTS + 32, len(centred)), center=False, niter=4)
    rank = min(LATENTS, int((values > 1e-4 * values[0]).sum()))
    basis, spread = basis[:, :rank], values[:rank] / len(coarse) ** 0.5
    mean = torch.from_numpy(middle.astype(np.float32))
    with torch.no_grad():
        for layer in (net.encoder.linear, net.decoder.linear):
            layer.weight.zero_()
            layer.bias.zero_()
        net.encoder.linear.weight[:rank].copy_((basis / spread).T)
        net.encoder.linear.bias[:rank].copy_(-(mean @ basis) / spread)
        net.decoder.linear.weight[:, :rank].copy_(basis * spread)
        net.decoder.linear.bias.copy_(mean)
    return net


def _silent(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Starts at zero, so that training begins at the linear code."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
