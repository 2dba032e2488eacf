"""Studies that a worker explained, for reader studies to be made of: spots at different places, some missed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom import Dataset

from planted import BRIGHT
from site_under_test import ROUTE, Site
from synthetic import Patient, radiograph
from whyray.jobs.worker import run_job

TARGET = BRIGHT
ROUTES = [{**ROUTE, "targets": "all", "send": {"to": ["pacs"], "as": ["sc", "sr"]}}]
SECRET = Patient("Secret^Name", "SECRET-77")


@dataclass(frozen=True)
class Explained:
    """A site whose studies are explained, and the truth of each."""

    site: Site
    truths: dict[str, bool]


def spotted(number: int, *, bright: bool) -> Dataset:
    """A film with a spot; `bright` ones are seen by the planted package, the others only by eye."""
    pixels = np.full((96, 80), 300 + 3 * number, np.uint16)
    pixels[20 + 4 * number : 32 + 4 * number, 20:34] = 4000 if bright else 1200
    return radiograph(pixels, number=1, study=f"reader study {number}", patient=SECRET, series=f"series {number}")


def explained(site: Site, count: int = 8) -> dict[str, bool]:
    """Run `count` studies through the worker; gives the truth of each by Study Instance UID (a spot: true).

    The model misses every fourth.
    """
    site.configure(routes=ROUTES)
    truths = {}
    for number in range(1, count + 1):
        film = spotted(number, bright=number % 2 == 0)
        truths[site.receive([film])] = number % 2 == 0 or number % 4 == 1
    site.router().step()
    for job in site.jobs():
        run_job(job.id, "worker-1", site.job_context())
    return truths
