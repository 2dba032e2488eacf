"""What people write today beside an Orthanc: wait for an instance, run the model, Grad-CAM, an overlay a finding, send.

    PYTHONPATH=tests python tests/benchmarks/plain_script.py ORTHANC_URL PACKAGE_FOLDER ARCHIVE_AE ARCHIVE_PORT

pydicom, ONNX Runtime, pytorch-grad-cam (on the graph converted to torch), highdicom's SCImage, pynetdicom; models are
loaded once. No check of the image, no evaluation, no place in the source, no queue: an instance that comes while it
works waits, and what fails is lost. It is the peer of `end_to_end.py`.
"""

from __future__ import annotations

import sys
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom
import httpx
import numpy as np
import onnx
import onnx2fx
import onnxruntime
import torch
import yaml
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.pixels import apply_voi_lut
from pynetdicom import AE
from pynetdicom.sop_class import SecondaryCaptureImageStorage

from explain.references import reference

LOOK = 0.1
"""Seconds between questions to Orthanc; the examples that one finds wait for one or five."""


class Explainer:
    """The model in ONNX Runtime, and once more in torch for its gradients."""

    def __init__(self, package: Path) -> None:
        self.targets = yaml.safe_load((package / "model.yaml").read_text())["targets"]
        self.session = onnxruntime.InferenceSession(package / "model.onnx", providers=["CPUExecutionProvider"])
        net = onnx2fx.convert(onnx.load(package / "model.onnx"))
        net.add_submodule("tapped", torch.nn.Identity())
        last = [node for node in net.graph.nodes if "cat" in str(node.name)][-1]
        with net.graph.inserting_after(last):
            tapped = net.graph.call_module("tapped", (last,))
        last.replace_all_uses_with(tapped, delete_user_cb=lambda user: user is not tapped)
        net.recompile()
        net.register_parameter("of_the_device", torch.nn.Parameter(torch.zeros(1)))  # pytorch-grad-cam asks for one
        self.cam = reference("pytorch_grad_cam").GradCAM(net, [net.tapped])
        self.target = reference("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget
        self.shown = reference("pytorch_grad_cam.utils.image").show_cam_on_image

    def overlays(self, source: Dataset) -> list[Dataset]:
        """One Secondary Capture for each finding above its threshold."""
        film = apply_voi_lut(source.pixel_array, source).astype(np.float32)
        film = (film - film.min()) / (film.max() - film.min())
        if source.PhotometricInterpretation == "MONOCHROME1":
            film = 1 - film
        side = max(film.shape)
        square = np.zeros((side, side), np.float32)
        square[: film.shape[0], : film.shape[1]] = film
        x = np.asarray(Image.fromarray(square).resize((224, 224), Image.Resampling.BILINEAR))[None, None].copy()
        logits = self.session.run(None, {"image": x})[0][0]
        made = []
        for number, target in enumerate(self.targets):
            if 1 / (1 + np.exp(-logits[number])) < target["threshold"]:
                continue
            grey = self.cam(torch.from_numpy(x).requires_grad_(), targets=[self.target(number)])[0]
            full = Image.fromarray(grey).resize((side, side), Image.Resampling.BILINEAR)
            heat = np.asarray(full)[: film.shape[0], : film.shape[1]]
            overlay = self.shown(np.repeat(film[..., None], 3, 2), heat, use_rgb=True)
            made.append(
                highdicom.sc.SCImage.from_ref_dataset(
                    ref_dataset=source,
                    pixel_array=overlay,
                    photometric_interpretation="RGB",
                    bits_allocated=8,
                    coordinate_system="PATIENT",
                    series_instance_uid=highdicom.UID(),
                    sop_instance_uid=highdicom.UID(),
                    series_number=900 + number,
                    instance_number=1,
                    manufacturer="script",
                    patient_orientation=("L", "F"),
                )
            )
        return made


def send(results: list[Dataset], ae_title: str, port: int) -> None:
    """C-STORE to the archive."""
    ae = AE("SCRIPT")
    ae.add_requested_context(SecondaryCaptureImageStorage)
    link = ae.associate("127.0.0.1", port, ae_title=ae_title)
    for result in results:
        link.send_c_store(result)
    link.release()


def main(orthanc: str, package: str, ae_title: str, port: str) -> None:
    """Follow Orthanc's changes until killed."""
    explainer = Explainer(Path(package))
    with httpx.Client(base_url=orthanc) as client:
        last = 0
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            changes: dict[str, Any] = client.get("/changes", params={"since": last}).json()
            last = changes["Last"]
            fresh = [change["ID"] for change in changes["Changes"] if change["ChangeType"] == "NewInstance"]
            for instance in fresh:
                source = dcmread(BytesIO(client.get(f"/instances/{instance}/file").content))
                send(explainer.overlays(source), ae_title, int(port))
            if not fresh:
                time.sleep(LOOK)


if __name__ == "__main__":
    main(*sys.argv[1:])
