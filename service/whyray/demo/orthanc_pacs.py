"""Orthanc as the demo's PACS: a study that is stored in it is routed to WhyRay by itself when no more comes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from whyray.config import DicomDestination
from whyray.delivery import Caller, send_files
from whyray.demo.modality import Modality, all_stored
from whyray.demo.orthanc import OrthancServer

ROUTE = "whyray"
"""The name by which Orthanc knows WhyRay."""

_RULE = """
-- Routes a study to WhyRay when no instance came for StableAge seconds. What WhyRay sent is left out, so that
-- results are not sent back to who made them. SendToModality can't be used here: it fails in Orthanc 1.10.
local routed = {}

local function fromWhyRay(series)
  local first = ParseJson(RestApiGet('/series/' .. series))['Instances'][1]
  local metadata = ParseJson(RestApiGet('/instances/' .. first .. '/metadata?expand'))
  return metadata['RemoteAET'] == '@AE@'
end

function OnStableStudy(studyId, tags, metadata)
  local resources, count = {}, 0
  for _, series in pairs(ParseJson(RestApiGet('/studies/' .. studyId))['Series']) do
    if not fromWhyRay(series) then
      table.insert(resources, series)
      count = count + #ParseJson(RestApiGet('/series/' .. series))['Instances']
    end
  end
  if #resources > 0 and routed[studyId] ~= count then
    routed[studyId] = count
    RestApiPost('/modalities/@NAME@/store', DumpJson({Resources = resources, Synchronous = false}))
  end
end
"""


def routing_rule(whyray_ae_title: str, name: str = ROUTE) -> str:
    """The Lua script that routes stable studies to the modality `name`."""
    return _RULE.replace("@AE@", whyray_ae_title).replace("@NAME@", name)


class OrthancPacs:
    """The demo's PACS where Orthanc is installed."""

    def __init__(
        self,
        folder: Path,
        *,
        dicom_port: int,
        http_port: int,
        whyray: Modality,
        ae_title: str = "DEMO_PACS",
    ) -> None:
        self.folder, self.ae_title, self.whyray = folder, ae_title, whyray
        self.server = OrthancServer(
            folder / "orthanc",
            ae_title=ae_title,
            dicom_port=dicom_port,
            http_port=http_port,
            modalities={ROUTE: whyray},
            lua=routing_rule(whyray.ae_title),
        )
        self.host, self.dicom_port = self.server.host, dicom_port

    @property
    def name(self) -> str:
        """See `DemoPacs.name`."""
        return "Orthanc"

    @property
    def web_url(self) -> str | None:
        """Orthanc's own explorer."""
        return f"{self.server.url}/app/explorer.html"

    def start(self) -> None:
        """See `DemoPacs.start`."""
        self.server.start()

    def stop(self) -> None:
        """See `DemoPacs.stop`."""
        self.server.stop()

    def store(self, paths: Sequence[Path]) -> None:
        """See `DemoPacs.store`."""
        me = DicomDestination(ae_title=self.ae_title, host=self.host, port=self.dicom_port)
        all_stored(send_files(paths, me, caller=Caller("MODALITY")))

    def results(self, study_instance_uid: str) -> list[Path]:
        """See `DemoPacs.results`; the files are fetched over Orthanc's REST API, once."""
        paths = []
        for uid, identifier in sorted(self.server.instances(study_instance_uid).items()):
            metadata = self.server.get(f"/instances/{identifier}/metadata?expand")
            if metadata.get("RemoteAET") == self.whyray.ae_title:
                paths.append(self._fetch(uid, identifier))
        return paths

    def _fetch(self, uid: str, identifier: str) -> Path:
        path = self.folder / "fetched" / f"{uid}.dcm"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.server.file(identifier))
        return path

    def studies(self) -> dict[str, int]:
        """See `DemoPacs.studies`."""
        held = self.server.post("/tools/find", {"Level": "Study", "Query": {}, "Expand": True})
        return {
            study["MainDicomTags"]["StudyInstanceUID"]: len(self.server.get(f"/studies/{study['ID']}/instances?expand"))
            for study in held
        }
