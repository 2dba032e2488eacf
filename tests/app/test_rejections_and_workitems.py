"""Rejection notes that were fetched for workitems count for the jobs that these order."""

from __future__ import annotations

import pytest

from app.rejection_scene import films, note, ordered, taken, uids
from site_under_test import Site
from whyray.base.errors import ImageError


def test_a_note_that_was_fetched_for_a_workitem_is_obeyed_by_the_jobs_that_it_orders(site: Site) -> None:
    first, second = films(1, 2)
    site.receive([first, second, note(second)], routed=False, released=False)
    ordered(site, first)
    (job,) = site.jobs()
    assert taken(site, job) == uids(first)
    assert site.router().step() == 0


def test_a_study_that_a_fetched_note_rejects_in_part_is_routed_anew(site: Site) -> None:
    first, second = films(1, 2)
    router = site.router()
    site.receive([first, second])
    router.step()
    foot = films(3, series="foot")
    site.receive([note(second), *foot], routed=False)
    assert router.step() == 0
    ordered(site, *foot)
    assert router.step() == 1
    assert uids(first) <= taken(site, site.jobs()[-1])
    assert not uids(second) & taken(site, site.jobs()[-1])


def test_of_a_workitem_whose_images_are_all_rejected_no_job_is_made(site: Site) -> None:
    images = films(1, 2)
    site.receive([*images, note(*images)], routed=False, released=False)
    with pytest.raises(ImageError, match="rejected"):
        ordered(site, *images)
