"""The demo's whyray.yaml: routes that together ask for all nine types of explanation."""

from __future__ import annotations

from pathlib import Path

import yaml

from whyray.demo.pacs import DemoPacs

_FINDINGS = [
    "grad-cam",
    "region-shares",
    "similar-cases",
    "tcav",
    "latent-position",
    "latent-shift",
    "unit-report",
    "narrative",
    "captioner",
]
"""Of the nine types all but concept learning, which needs a package that answers through concepts."""

_CHEST = {"Modality": {"in": ["CR", "DX"]}, "BodyPartExamined": {"contains": "chest"}}


def write_config(path: Path, port: int, admin_port: int, pacs: DemoPacs) -> None:
    """Write the configuration of a service on these ports beside that PACS."""
    send = {"to": ["pacs"], "as": ["sc", "seg", "sr"]}
    content = {
        "listener": {
            "ae_title": "WHYRAY",
            "address": "127.0.0.1",
            "port": port,
            "peers": {pacs.ae_title: {"address": pacs.host}},
        },
        "destinations": {
            "pacs": {
                "ae_title": pacs.ae_title,
                "host": pacs.host,
                "port": pacs.dicom_port,
                "storage_commitment": True,
            }
        },
        "routes": [
            {
                "name": "radiographs, whatever they show",  # the package itself says nothing of what is no chest
                "when": {"Modality": {"in": ["CR", "DX"]}},
                "complete": {"on_release": True, "quiet_for": "2s", "at_most": "5m"},
                "run": "cxr-findings@1",
                "explain": _FINDINGS,
                "targets": "top-1",
                "send": send,
                "priority": "urgent",
            },
            {
                "name": "chest radiographs, lung opacity",
                "when": _CHEST,
                "complete": {"on_release": True, "quiet_for": "2s", "at_most": "5m"},
                "run": "cxr-opacity@1",
                "explain": "preferred",
                "targets": "top-1",
                "send": send,
            },
            {
                "name": "chest radiographs, by concepts",
                "when": _CHEST,
                "complete": {"on_release": True, "quiet_for": "2s", "at_most": "5m"},
                "run": "cxr-abnormal@1",
                "explain": "concept-bottleneck",
                "send": send,
            },
            {
                "name": "chest radiographs, by prototypes",
                "when": _CHEST,
                "complete": {"on_release": True, "quiet_for": "2s", "at_most": "5m"},
                "run": "cxr-prototypes@1",
                "explain": "prototypes",
                "targets": "top-1",
                "send": send,
            },
            {
                "name": "head CT",
                "when": {"Modality": "CT"},
                "complete": {"on_release": True, "quiet_for": "2s", "at_most": "5m"},
                "run": "head-ct-tissue@1",
                "explain": "seg-grad-cam",
                "send": send,
            },
        ],
        "state": str(path.parent / "state"),
        "admin": {"address": "127.0.0.1", "port": admin_port},
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
