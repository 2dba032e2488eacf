// One job, one study: all that came of it.

import { actions, enlarge, gallery } from "./acting.js";
import { newer, withdrawn } from "./contents.js";
import { rejections } from "./rejections.js";
import { age, bytes, chip, facts, figure, fullUid, h, may, panel, percent, significant, spoken, table, trust, wholePercent } from "./dom.js";
import { objects } from "./lists.js";
import { DELIVERY_HEADS, deliveryRows, EVENT_HEADS, eventRows, JOB_HEADS, jobRows, progress } from "./rows.js";

export const job = (id) => ({
  title: `Job ${id.slice(0, 8)}`,
  paths: () => [`jobs/${encodeURIComponent(id)}`],
  body: ([record]) => [
    panel(
      h("p", {}, chip(record.state), " ", ["running", "cancelling", "waiting"].includes(record.state) ? progress(record) : "", " ", actions("jobs", record, `job ${record.id.slice(0, 8)}`)),
      error(record),
      facts([["Study", h("a", { href: `#studies/${record.study_instance_uid}`, "data-key": "study" }, fullUid(record.study_instance_uid))],
        ["Series", record.series_instance_uids.map((uid) => h("div", {}, fullUid(uid)))], ["Route", record.route], ["Package", record.package],
        ["Priority", record.priority], ["Revision", String(record.revision)], ["Attempts", String(record.attempt)], ["Worker", record.worker],
        ["Created", age(record.created_at)], ["Started", record.started_at && age(record.started_at)], ["Finished", record.finished_at && age(record.finished_at)],
        ["Job id", fullUid(record.id)]])),
    record.notes.length ? panel(table("Notes on the images", ["Kind", "What"], record.notes.map((note) => [note.kind.replaceAll("-", " "), note.detail]))) : null,
    ...record.unanswered.map(unanswered),
    panel(h("h2", {}, "Overlays"), gallery(record.results)),
    ...explanations(record),
    panel(table("Findings", ["Finding", "Probability", "Present", "Explanation", "Why"], record.findings.map((finding) => [
      named(finding), probability(finding), finding.present === null ? "–" : finding.present ? "yes" : "no", [trust(finding), agreement(finding)],
      finding.reasons.length ? h("ul", {}, finding.reasons.map((reason) => h("li", {}, reason))) : "–",
    ]), { empty: "No findings yet." })),
    record.results.some((result) => !result.picture) ? panel(objects(record.results.filter((result) => !result.picture))) : null,
    panel(table("Deliveries", DELIVERY_HEADS, deliveryRows(record.results.flatMap((result) => result.deliveries)), { empty: "Nothing to deliver yet." })),
    panel(table("Events", EVENT_HEADS, eventRows(record.events))),
  ],
});

// An image that the package says nothing of: the outcome, not an error.
function unanswered(image) {
  return h("div", { class: "box warning" },
    h("p", {}, h("strong", {}, image.words)),
    h("p", {}, `Why: ${image.reasons.map((reason) => reason.replaceAll("_", " ")).join(", ")}`),
    h("ul", {}, image.measurements.map((measured) => h("li", {}, measurement(measured)))));
}

const SHOWN = { shown: "match", withheld: "red", refused: "stopped" };

// One panel a type of interpretability: what is shown, withheld or refused, and why.
function explanations(record) {
  return [...new Set(record.explanations.map((explanation) => explanation.type))].map((type) => panel(
    table(type[0].toUpperCase() + type.slice(1), ["Finding", "Method", "State", "Explanation", "Why", "Measured", "Pictures"], record.explanations.filter((explanation) => explanation.type === type).map((explanation) => [
      named({ ...explanation, name: explanation.finding }),
      [h("a", { href: `#methods/${explanation.method}`, "data-key": `why-${explanation.finding}-${explanation.frame}-${explanation.method}-${explanation.part}` }, explanation.title), explanation.part ? h("div", { class: "quiet" }, explanation.part) : null],
      chip(SHOWN[explanation.state], explanation.state), trust(explanation),
      explanation.trust ? trustWords(explanation.trust) : explanation.reasons.length ? h("ul", {}, explanation.reasons.map((reason) => h("li", {}, reason))) : "–",
      explanation.measurements.length ? h("details", {}, h("summary", { "data-key": `measured-${explanation.finding}-${explanation.frame}-${explanation.method}-${explanation.part}` }, explanation.measurements.length === 1 ? "1 measurement" : `${explanation.measurements.length} measurements`), h("ul", {}, explanation.measurements.map((measured) => h("li", {}, measurement(measured))))) : "–",
      pictures(record, explanation),
    ]))));
}

const measurement = (measured) => [chip(measured.grade), ` ${measured.name} (${measured.aspect}): ${measured.value === null ? "–" : significant(measured.value, 3)}`, measured.baseline === null ? "" : ` against ${significant(measured.baseline, 3)}`, `; ${measured.rule}`];

function pictures(record, explanation) {
  const pictured = record.results.filter((result) => result.picture && explanation.results.includes(result.sop_instance_uid));
  if (explanation.state !== "shown" || pictured.length === 0 || !may("pictures")) return "–";
  return h("div", { class: "small-pictures" }, pictured.map((result) => h("button", { type: "button", "data-key": `small-${result.sop_instance_uid}-${explanation.frame}-${explanation.part}`, "aria-label": `Enlarge ${spoken(explanation.finding)} by ${explanation.title}`, onclick: () => enlarge(result) },
    h("img", { src: `${result.picture}?width=160`, alt: "", loading: "lazy" }))));
}

// Why, and how many of radiologists' marks such maps of the package met before.
const trustWords = (trust) => (trust.sentence === null ? "–" : [trust.sentence, trust.record && trust.record !== trust.sentence ? h("div", { class: "quiet" }, trust.record) : null]);

function agreement(finding) {
  if (!finding.agreement) return null;
  return h("div", { class: "quiet" }, `Its ${finding.agreement.methods.length} maps agree by ${wholePercent(finding.agreement.value)}; by chance ${wholePercent(finding.agreement.by_chance)}.`);
}

// Of a multi-frame image, findings are told apart by their frames.
const named = (finding) => (finding.frame === null ? spoken(finding.name) : `${spoken(finding.name)}, frame ${finding.frame}`);

function probability(finding) {
  if (finding.probability === null) return figure(finding) || "–";
  return [h("span", { class: "share" }, percent(finding.probability)), h("meter", { min: 0, max: 1, value: finding.probability, "aria-label": `Probability of ${finding.name}` })];
}

function error(record) {
  if (!record.error) return null;
  const past = !["failed", "waiting"].includes(record.state);
  return h("div", { class: `box ${past ? "" : record.state === "failed" ? "error" : "warning"}` },
    h("p", {}, h("strong", {}, past ? `Last attempt: ${record.error.code}` : record.error.code), ": ", record.error.message),
    record.error.advice ? h("p", {}, h("strong", {}, "What to do: "), record.error.advice) : null);
}

export const study = (uid) => ({
  title: "Study",
  paths: () => [`studies/${encodeURIComponent(uid)}`],
  body: ([record]) => [
    panel(facts([["Study Instance UID", fullUid(record.study_instance_uid)], ["State", chip(record.state)], ["Routing says", record.note],
      ["Instances", `${record.instances} in ${record.series} series`], ["First received", age(record.first_received_at)], ["Last received", age(record.last_received_at)],
      ["Kept until", record.expires_at && age(record.expires_at)]]),
    newer(record), withdrawn(record)),
    record.rejections.length ? panel(rejections(record)) : null,
    panel(table("Jobs", JOB_HEADS, jobRows(record.job_list), { empty: "No route matched, or routing still waits." })),
    panel(h("h2", {}, "Overlays"), gallery(record.results)),
    record.results.some((result) => !result.picture) ? panel(objects(record.results.filter((result) => !result.picture))) : null,
    panel(table("Series", ["Series Instance UID", "Modality", "#Instances", "#Size", "#Conflicts", "#Own results", "From"], record.detail.map((series) => [
      fullUid(series.series_instance_uid), series.modality ?? "–", String(series.instances), bytes(series.bytes), String(series.conflicts), String(series.own_results), series.calling_aes.join(", "),
    ]))),
    panel(table("Events", EVENT_HEADS, eventRows(record.events))),
  ],
});
