// One job, one study: all that came of it.

import { actions, enlarge, gallery } from "./acting.js";
import { newer, withdrawn } from "./contents.js";
import { age, bytes, chip, facts, figure, fullUid, h, may, panel, percent, significant, spoken, table, trust, wholePercent } from "./dom.js";
import { objects } from "./lists.js";
import { DELIVERY_HEADS, deliveryRows, EVENT_HEADS, eventRows, JOB_HEADS, jobRows, progress } from "./rows.js";

export const job = (id) => ({
  title: `Job ${id.slice(0, 8)}`,
  paths: () => [`jobs/${encodeURIComponent(id)}`],
  body: ([it]) => [
    panel(
      h("p", {}, chip(it.state), " ", ["running", "cancelling", "waiting"].includes(it.state) ? progress(it) : "", " ", actions("jobs", it, `job ${it.id.slice(0, 8)}`)),
      error(it),
      facts([["Study", h("a", { href: `#studies/${it.study_instance_uid}`, "data-key": "study" }, fullUid(it.study_instance_uid))],
        ["Series", it.series_instance_uids.map((uid) => h("div", {}, fullUid(uid)))], ["Route", it.route], ["Package", it.package],
        ["Priority", it.priority], ["Revision", String(it.revision)], ["Attempts", String(it.attempt)], ["Worker", it.worker],
        ["Created", age(it.created_at)], ["Started", it.started_at && age(it.started_at)], ["Finished", it.finished_at && age(it.finished_at)],
        ["Job id", fullUid(it.id)]])),
    it.notes.length ? panel(table("Notes on the images", ["Kind", "What"], it.notes.map((note) => [note.kind.replaceAll("-", " "), note.detail]))) : null,
    ...it.unanswered.map(unanswered),
    panel(h("h2", {}, "Overlays"), gallery(it.results)),
    ...explanations(it),
    panel(table("Findings", ["Finding", "Probability", "Present", "Explanation", "Why"], it.findings.map((finding) => [
      named(finding), probability(finding), finding.present === null ? "–" : finding.present ? "yes" : "no", [trust(finding), agreement(finding)],
      finding.reasons.length ? h("ul", {}, finding.reasons.map((one) => h("li", {}, one))) : "–",
    ]), { empty: "No findings yet." })),
    it.results.some((result) => !result.picture) ? panel(objects(it.results.filter((result) => !result.picture))) : null,
    panel(table("Deliveries", DELIVERY_HEADS, deliveryRows(it.results.flatMap((result) => result.deliveries)), { empty: "Nothing to deliver yet." })),
    panel(table("Events", EVENT_HEADS, eventRows(it.events))),
  ],
});

// An image that the package says nothing of: the outcome, not an error.
function unanswered(image) {
  return h("div", { class: "box warning" },
    h("p", {}, h("strong", {}, image.words)),
    h("p", {}, `Why: ${image.reasons.map((one) => one.replaceAll("_", " ")).join(", ")}`),
    h("ul", {}, image.measurements.map((one) => h("li", {}, measurement(one)))));
}

const SHOWN = { shown: "match", withheld: "red", refused: "stopped" };

// One panel a type of interpretability: what is shown, withheld or refused, and why.
function explanations(it) {
  return [...new Set(it.explanations.map((explanation) => explanation.type))].map((type) => panel(
    table(type[0].toUpperCase() + type.slice(1), ["Finding", "Method", "State", "Explanation", "Why", "Measured", "Pictures"], it.explanations.filter((explanation) => explanation.type === type).map((explanation) => [
      named({ ...explanation, name: explanation.finding }),
      [h("a", { href: `#methods/${explanation.method}`, "data-key": `why-${explanation.finding}-${explanation.frame}-${explanation.method}-${explanation.part}` }, explanation.title), explanation.part ? h("div", { class: "quiet" }, explanation.part) : null],
      chip(SHOWN[explanation.state], explanation.state), trust(explanation),
      explanation.trust ? said(explanation.trust) : explanation.reasons.length ? h("ul", {}, explanation.reasons.map((one) => h("li", {}, one))) : "–",
      explanation.measurements.length ? h("details", {}, h("summary", { "data-key": `measured-${explanation.finding}-${explanation.frame}-${explanation.method}-${explanation.part}` }, explanation.measurements.length === 1 ? "1 measurement" : `${explanation.measurements.length} measurements`), h("ul", {}, explanation.measurements.map((one) => h("li", {}, measurement(one))))) : "–",
      pictures(it, explanation),
    ]))));
}

const measurement = (one) => [chip(one.grade), ` ${one.name} (${one.aspect}): ${one.value === null ? "–" : significant(one.value, 3)}`, one.baseline === null ? "" : ` against ${significant(one.baseline, 3)}`, `; ${one.rule}`];

function pictures(it, explanation) {
  const pictured = it.results.filter((one) => one.picture && explanation.results.includes(one.sop_instance_uid));
  if (explanation.state !== "shown" || pictured.length === 0 || !may("pictures")) return "–";
  return h("div", { class: "small-pictures" }, pictured.map((one) => h("button", { type: "button", "data-key": `small-${one.sop_instance_uid}-${explanation.frame}-${explanation.part}`, "aria-label": `Enlarge ${spoken(explanation.finding)} by ${explanation.title}`, onclick: () => enlarge(one) },
    h("img", { src: `${one.picture}?width=160`, alt: "", loading: "lazy" }))));
}

// Why, and how many of radiologists' marks such maps of the package met before.
const said = (trust) => (trust.sentence === null ? "–" : [trust.sentence, trust.record && trust.record !== trust.sentence ? h("div", { class: "quiet" }, trust.record) : null]);

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

function error(it) {
  if (!it.error) return null;
  const past = !["failed", "waiting"].includes(it.state);
  return h("div", { class: `box ${past ? "" : it.state === "failed" ? "error" : "warning"}` },
    h("p", {}, h("strong", {}, past ? `Last attempt: ${it.error.code}` : it.error.code), ": ", it.error.message),
    it.error.advice ? h("p", {}, h("strong", {}, "What to do: "), it.error.advice) : null);
}

export const study = (uid) => ({
  title: "Study",
  paths: () => [`studies/${encodeURIComponent(uid)}`],
  body: ([it]) => [
    panel(facts([["Study Instance UID", fullUid(it.study_instance_uid)], ["State", chip(it.state)], ["Routing says", it.note],
      ["Instances", `${it.instances} in ${it.series} series`], ["First received", age(it.first_received_at)], ["Last received", age(it.last_received_at)],
      ["Kept until", it.expires_at && age(it.expires_at)]]),
    newer(it), withdrawn(it)),
    panel(table("Jobs", JOB_HEADS, jobRows(it.job_list), { empty: "No route matched, or routing still waits." })),
    panel(h("h2", {}, "Overlays"), gallery(it.results)),
    it.results.some((result) => !result.picture) ? panel(objects(it.results.filter((result) => !result.picture))) : null,
    panel(table("Series", ["Series Instance UID", "Modality", "#Instances", "#Size", "#Conflicts", "#Own results", "From"], it.detail.map((series) => [
      fullUid(series.series_instance_uid), series.modality ?? "–", String(series.instances), bytes(series.bytes), String(series.conflicts), String(series.own_results), series.calling_aes.join(", "),
    ]))),
    panel(table("Events", EVENT_HEADS, eventRows(it.events))),
  ],
});
