"""DICOM over TLS against plain: megabytes a second into a listener and out of one association, in turns.

    PYTHONPATH=tests .venv/bin/python tests/benchmarks/tls_throughput.py

Four instances of 8 MB an association; plain and TLS take turns, so that a busy machine slows both alike; where it is
very busy, the processor time of both sides together tells more than the clock. Goal: 0.8.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE

from certificates import Authority
from intake.conftest import listener_settings
from intake.scu import small
from whyray.base.tls import client_context
from whyray.catalog import Catalog, sqlite_url
from whyray.config import ListenerTls
from whyray.intake import start_listener
from whyray.storage import FolderStorage

_INSTANCES, _MEGABYTES = 4, 8
_TURNS = int(os.environ.get("WHYRAY_BENCH_TURNS", "7"))


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hospital = Authority(folder / "hospital", "hospital")
        certificate, key = hospital.signs("whyray")
        tls = ListenerTls(certificate=certificate, key=key, authorities=hospital.file).model_copy(update={"port": 0})
        catalog = Catalog(sqlite_url(folder / "catalog.sqlite"))
        scp = start_listener(listener_settings(tls=tls), catalog, FolderStorage(folder / "instances"))
        shown = hospital.signs("modality")
        ratios, work = [], []
        speeds: dict[str, list[float]] = {"plain": [], "TLS": []}
        number = 0
        for turn in range(_TURNS + 1):
            took: dict[str, float] = {}
            worked: dict[str, float] = {}
            for way in ("plain", "TLS") if turn % 2 else ("TLS", "plain"):
                instances = []
                for _ in range(_INSTANCES):
                    number += 1
                    instances.append(small(number, pixels=os.urandom(_MEGABYTES << 20)))
                    instances[-1].file_meta = FileMetaDataset()
                    instances[-1].file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
                ae = AE("MODALITY")
                ae.add_requested_context(CTImageStorage, ExplicitVRLittleEndian)
                by = None
                if way == "TLS":
                    context = client_context(authorities=hospital.file, certificate=shown[0], key=shown[1])
                    by = (context, "127.0.0.1")
                port = scp.tls_port if way == "TLS" else scp.port
                link = ae.associate("127.0.0.1", port, ae_title="WHYRAY", tls_args=by, max_pdu=0)
                begun, begun_work = time.perf_counter(), time.process_time()
                for instance in instances:
                    assert link.send_c_store(instance).Status == 0
                took[way], worked[way] = time.perf_counter() - begun, time.process_time() - begun_work
                link.release()
            if turn:  # the first warms up
                ratios.append(took["plain"] / took["TLS"])
                work.append(worked["plain"] / worked["TLS"])
                for way, seconds in took.items():
                    speeds[way].append(_INSTANCES * _MEGABYTES / seconds)
        scp.stop()
        catalog.close()
    for way, values in speeds.items():
        sys.stdout.write(f"{way}: median {statistics.median(values):.0f} MB/s\n")
    for what, values in (("by the clock", ratios), ("by processor time", work)):
        low, median, high = statistics.quantiles(values, n=4)
        sys.stdout.write(f"throughput of TLS / plain {what}: median {median:.2f}, quartiles {low:.2f} to {high:.2f}\n")


if __name__ == "__main__":
    main()
