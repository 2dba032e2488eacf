"""Real images in many transfer syntaxes, from dcmtk's storescu and, byte for byte, from a sender of raw bytes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from intake.conftest import Running
from peers import require, until

Listen = Callable[..., Running]

IMAGES = [
    "CT_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_jp2klossless.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
]


def storescu(port: int, *files: Path, options: tuple[str, ...] = (), calling: str = "STORESCU") -> str:
    """What dcmtk's storescu says; each file's own transfer syntax is proposed, and nothing is converted."""
    program = require("storescu", "dcmtk")
    done = subprocess.run(
        [program, "-v", "-aet", calling, "-aec", "WHYRAY", *options, "127.0.0.1", str(port), *map(str, files)],
        capture_output=True,
        text=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        check=False,
    )
    return done.stdout + done.stderr


def _profile(folder: Path, sop_class: str, transfer_syntax: str) -> tuple[str, ...]:
    """Options that let storescu propose one presentation context."""
    file = folder / "profile.cfg"
    file.write_text(
        f"[[TransferSyntaxes]]\n[Own]\nTransferSyntax1={transfer_syntax}\n"
        f"[[PresentationContexts]]\n[Only]\nPresentationContext1={sop_class}\\Own\n"
        "[[Profiles]]\n[Default]\nPresentationContexts=Only\n"
    )
    return ("-xf", str(file), "Default")


def data_set(path: Path) -> bytes:
    """The bytes after the File Meta Information."""
    file = BytesIO(path.read_bytes())
    meta = dcmread(file, specific_tags=[], force=True).file_meta
    return file.getvalue()[128 + 4 + 12 + meta.FileMetaInformationGroupLength :]


@pytest.mark.parametrize("name", IMAGES)
def test_storescu_can_send_a_real_image_in_its_own_transfer_syntax(listen: Listen, tmp_path: Path, name: str) -> None:
    source = Path(str(get_testdata_file(name)))
    original = dcmread(source)
    meta = original.file_meta
    running = listen()
    options = _profile(tmp_path, original.SOPClassUID, meta.TransferSyntaxUID)
    said = storescu(running.port, source, options=options)
    assert "Received Store Response (Success)" in said, said
    row = running.instances()[0]
    assert row.transfer_syntax_uid == meta.TransferSyntaxUID
    kept = dcmread(running.storage.root / row.key)
    # storescu writes lengths of sequences its own way, so values are compared here; the test below compares bytes
    assert kept.get("PatientName") == original.get("PatientName")
    if UID(meta.TransferSyntaxUID).is_compressed and not UID(meta.TransferSyntaxUID).is_deflated:
        assert kept.PixelData.rstrip(b"\0") == original.PixelData.rstrip(b"\0")
    else:
        assert kept.PixelData == original.PixelData


@pytest.mark.parametrize("name", IMAGES)
def test_the_data_set_of_a_real_image_is_kept_byte_for_byte(listen: Listen, name: str) -> None:
    source = Path(str(get_testdata_file(name)))
    original, data = dcmread(source), data_set(source)
    running = listen()
    syntax = str(original.file_meta.TransferSyntaxUID)
    with running.sender(contexts=((str(original.SOPClassUID), (syntax,)),)) as sender:
        assert sender.store(data, original.SOPInstanceUID, original.SOPClassUID).Status == 0
    assert data_set(running.storage.root / running.instances()[0].key) == data


def test_storescu_is_told_why_it_is_refused(listen: Listen) -> None:
    running = listen(peers={"PACS_MAIN": "127.0.0.1"})
    image = Path(str(get_testdata_file("CT_small.dcm")))
    assert "Calling AE Title Not Recognized" in storescu(running.port, image, calling="STRANGER")
    assert "Called AE Title Not Recognized" in storescu(running.port, image, options=("-aec", "NOBODY"))
    assert "Received Store Response (Success)" in storescu(running.port, image, calling="PACS_MAIN")


def test_storescu_is_told_that_the_disk_is_full(listen: Listen) -> None:
    running = listen(limits={"min_free_disk": 1 << 62})
    said = storescu(running.port, Path(str(get_testdata_file("CT_small.dcm"))), options=("-d",))
    assert "Out of resources: disk space low" in said


def test_echoscu_is_answered(listen: Listen) -> None:
    program = require("echoscu", "dcmtk")
    subprocess.run([program, "-aec", "WHYRAY", "127.0.0.1", str(listen().port)], check=True)


def test_an_aborting_storescu_leaves_the_instances_that_were_acknowledged(listen: Listen) -> None:
    running = listen()
    images = [Path(str(get_testdata_file(name))) for name in ("CT_small.dcm", "MR_small.dcm")]
    said = storescu(running.port, *images, options=("--abort",))
    assert said.count("Received Store Response (Success)") == 2
    until(lambda: running.scp.associations == 0)
    assert len(running.instances()) == 2
