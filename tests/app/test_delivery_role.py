"""The delivery role, as `whyray delivery` runs it: what a destination wishes in whyray.yaml is done on the way out."""

from __future__ import annotations

import threading

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless
from sqlalchemy import select

from peers import StoreScpFactory, until
from results.answers import KINDS_OF_A_MAP
from site_under_test import ROUTE, Site, film
from whyray.app.roles import run_delivery
from whyray.catalog import Delivery, DeliveryState, JobState, ResultRow
from whyray.jobs.worker import run_job
from whyray.results import EVERY_KIND


def test_results_of_every_kind_reach_a_pacs_and_pages_as_small_as_it_takes_them(
    site: Site, storescp: StoreScpFactory
) -> None:
    pacs = storescp(options=("+xt",))
    destination = {
        "ae_title": pacs.ae_title,
        "host": pacs.host,
        "port": pacs.port,
        "transfer_syntaxes": ["JPEG2000Lossless", "JPEGLSLossless", "ExplicitVRLittleEndian"],
    }
    route = {**ROUTE, "send": {"to": ["pacs"], "as": list(EVERY_KIND)}}
    site.configure(destinations={"pacs": destination}, routes=[route])
    site.receive([film(1)])
    site.router().step()
    assert run_job(site.jobs()[-1].id, "worker-1", site.job_context()) is JobState.DONE

    stop = threading.Event()
    role = threading.Thread(target=run_delivery, args=(site.folder / "whyray.yaml", stop))
    role.start()
    try:
        until(
            lambda: {delivery.state for delivery in rows(site, Delivery)} == {DeliveryState.SENT},
            what="all results sent",
        )
    finally:
        stop.set()
        role.join()

    made = {result.sop_instance_uid: result for result in rows(site, ResultRow)}
    received = {uid: dcmread(path) for uid, path in pacs.files().items()}
    assert received.keys() == made.keys()
    assert {result.kind for result in made.values()} == set(KINDS_OF_A_MAP)
    for uid, result in made.items():
        compressed = result.kind == "sc"
        wanted = JPEGLSLossless if compressed else ExplicitVRLittleEndian
        assert received[uid].file_meta.TransferSyntaxUID == wanted, result.kind
        if compressed:
            kept = dcmread(site.storage.root / result.key)
            np.testing.assert_array_equal(received[uid].pixel_array, kept.pixel_array)


def rows(site: Site, table: type) -> list:
    with site.catalog.read() as session:
        return list(session.scalars(select(table)))
