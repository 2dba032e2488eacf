"""Modalities that send one study after another until each instance is acknowledged, and a ledger of what was."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from chaos.studies import Encoded, OutgoingStudy
from intake.scu import NoAssociationError, Sender
from intake.web import BOUNDARY, answered, multipart
from whyray.intake.part10 import file_header

SUCCESS = 0x0000
Status = int | None
"""What the peer answered; None where nothing came back."""


@dataclass
class Sent:
    """A study, and when which of its instances were acknowledged (monotonic seconds)."""

    study: OutgoingStudy
    sender: str
    acknowledged: dict[str, float] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)

    @property
    def whole_at(self) -> float | None:
        """When the last instance was acknowledged; None as long as one is not."""
        return max(self.acknowledged.values()) if len(self.acknowledged) == self.study.count else None


class Ledger:
    """What was acknowledged to whom. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, Sent] = {}

    def begin(self, study: OutgoingStudy, sender: str) -> Sent:
        """A study is going to be sent."""
        with self._lock:
            return self._sent.setdefault(study.study_instance_uid, Sent(study, sender))

    def enter(self, sent: Sent, uid: str, status: Status) -> None:
        """What came back for an instance."""
        with self._lock:
            sent.statuses["no answer" if status is None else f"{status:04X}"] += 1
            if status == SUCCESS:
                sent.acknowledged.setdefault(uid, time.monotonic())

    def all(self) -> list[Sent]:
        """A copy of the list, as it is now."""
        with self._lock:
            return [
                Sent(entry.study, entry.sender, dict(entry.acknowledged), entry.statuses.copy())
                for entry in self._sent.values()
            ]


@dataclass
class Door:
    """Where the service takes studies."""

    dicom_port: int
    web_port: int


Send = Callable[[Door, OutgoingStudy, list[Encoded], Callable[[str, Status], None]], None]
"""Sends instances of a study in one go, and tells of each what came back."""


def by_pynetdicom(
    door: Door, study: OutgoingStudy, instances: list[Encoded], tell: Callable[[str, Status], None]
) -> None:
    """One association."""
    contexts = {(instance.sop_class_uid, (instance.transfer_syntax_uid,)) for instance in instances}
    try:
        with Sender(door.dicom_port, calling="MODALITY", contexts=tuple(sorted(contexts)), patience=60) as sender:
            for instance in instances:
                tell(
                    instance.sop_instance_uid,
                    sender.store(instance.data, instance.sop_instance_uid, instance.sop_class_uid).Status,
                )
    except (NoAssociationError, RuntimeError, OSError, StopIteration, AttributeError, ValueError):
        return  # it broke under way, or there was none: what was not told is sent again


def by_storescu(
    door: Door, study: OutgoingStudy, instances: list[Encoded], tell: Callable[[str, Status], None]
) -> None:
    """One association of dcmtk's storescu."""
    with tempfile.TemporaryDirectory(prefix="chaos-scu-") as folder:
        paths = []
        for number, instance in enumerate(instances):
            paths.append(Path(folder) / f"{number:05d}.dcm")
            paths[-1].write_bytes(_file(instance))
        call = [
            "storescu",
            "-v",
            "--no-halt",
            "-to",
            "20",
            "-ta",
            "20",
            "-td",
            "30",
            "-aet",
            "STORESCU",
            "-aec",
            "WHYRAY",
        ]
        try:
            done = subprocess.run(
                [*call, "127.0.0.1", str(door.dicom_port), *map(str, paths)],
                capture_output=True, text=True, timeout=120, env={**os.environ, "TCP_NODELAY": "1"}, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return
    current = -1
    for line in (done.stdout + done.stderr).splitlines():
        if "Sending file:" in line:
            current += 1
        elif "Received Store Response" in line and 0 <= current < len(instances):
            tell(instances[current].sop_instance_uid, SUCCESS if "(Success)" in line else 0xFFFF)


def by_stow(door: Door, study: OutgoingStudy, instances: list[Encoded], tell: Callable[[str, Status], None]) -> None:
    """One request of STOW-RS."""
    content_type = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    try:
        response = httpx.post(
            f"http://127.0.0.1:{door.web_port}/dicom-web/studies",
            content=multipart(*map(_file, instances)),
            headers={"Content-Type": content_type, "Accept": "application/dicom+json"},
            timeout=60,
        )
        stored, failed, _ = answered(response)
    except (httpx.HTTPError, ValueError):
        return
    for uid in stored:
        tell(uid, SUCCESS)
    for uid, reason in failed.items():
        tell(uid, reason)


def _file(instance: Encoded) -> bytes:
    return (
        file_header(instance.sop_class_uid, instance.sop_instance_uid, instance.transfer_syntax_uid, "MODALITY")
        + instance.data
    )


SENDERS: dict[str, Send] = {"pynetdicom": by_pynetdicom, "storescu": by_storescu, "STOW-RS": by_stow}


class Modality(threading.Thread):
    """Sends what `next_study` gives, each until all of it is acknowledged. It ends when `end` is set."""

    def __init__(
        self,
        name: str,
        door: Door,
        ledger: Ledger,
        next_study: Callable[[], OutgoingStudy | None],
        end: threading.Event,
        *,
        pause: float = 0.3,
    ) -> None:
        super().__init__(name=f"modality-{name}", daemon=True)
        self.sender, self._door, self._ledger, self._next, self._end = name, door, ledger, next_study, end
        self._pause = pause

    def run(self) -> None:
        """Send."""
        while not self._end.is_set():
            study = self._next()
            if study is not None:
                send_whole(self.sender, self._door, self._ledger, study, end=None)
            self._end.wait(self._pause)


def send_whole(
    name: str,
    door: Door,
    ledger: Ledger,
    study: OutgoingStudy,
    *,
    end: threading.Event | None,
    tries: int | None = None,
) -> Sent:
    """Send a study again and again, as a modality does, until all of it is acknowledged.

    Parameters
    ----------
    tries
        Give up after so many answers other than success; None: never.
    """
    sent = ledger.begin(study, name)
    most = 200 if study.count > 200 else study.count
    for attempt in itertools.count(1):
        missing = [number for number in range(study.count) if number not in _known(study, sent)]
        if not missing or (end is not None and end.is_set()):
            return sent
        part = [study.instances[number] for number in missing[:most]]
        answers: list[Status] = []

        def tell(uid: str, status: Status, answers: list[Status] = answers) -> None:
            answers.append(status)
            ledger.enter(sent, uid, status)

        SENDERS[name](door, study, part, tell)
        if not answers:
            ledger.enter(sent, "", None)
        # poison is refused with Cxxx or A9xx, and then for good; what is refused with A7xx is sent again
        if tries is not None and (attempt >= tries or any(status and status & 0xFF00 != 0xA700 for status in answers)):
            return sent
        if SUCCESS not in answers:
            time.sleep(random.uniform(0.1, 0.5))  # a modality's own pause, not a wait for something
    raise AssertionError


def _known(study: OutgoingStudy, sent: Sent) -> set[int]:
    if study.count <= 200:
        return {
            number for number, instance in enumerate(study.instances) if instance.sop_instance_uid in sent.acknowledged
        }
    # made one by one: the number is in the UID
    return {int(uid[-4:]) for uid in sent.acknowledged}
