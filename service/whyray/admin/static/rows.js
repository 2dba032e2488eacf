// Rows of the tables that several views share.

import { actions } from "./acting.js";
import { age, chip, figure, h, percent, spoken, uid } from "./dom.js";

export const JOB_HEADS = ["Job", "State", "Study", "Route", "Package", "Priority", "Progress", "Findings", "Created", "Actions"];

export const jobRows = (jobs) => jobs.map((job) => [
  h("a", { href: `#jobs/${job.id}`, "data-key": `job-${job.id}`, class: "uid" }, job.id.slice(0, 8)),
  [chip(job.state), job.revision > 1 ? ` rev ${job.revision}` : "", job.error && ["failed", "waiting"].includes(job.state) ? h("div", { class: "err", title: job.error.message }, job.error.code) : null],
  uid(job.study_instance_uid, `#studies/${job.study_instance_uid}`),
  job.route, job.package, job.priority, progress(job),
  job.present.length ? [...job.present.slice(0, 3).map((each) => h("div", { class: "nowrap" }, `${spoken(each.name)} ${figure(each)}`.trim())), job.present.length > 3 ? h("div", { class: "quiet" }, `and ${job.present.length - 3} more`) : null] : job.no_statement ? h("span", { class: "quiet" }, "no statement") : "–",
  age(job.created_at), actions("jobs", job, `job ${job.id.slice(0, 8)}`),
]);

export function progress(job) {
  if (job.state === "running" || job.state === "cancelling") {
    return [h("progress", { value: job.progress, max: 1, "aria-label": `Progress of job ${job.id.slice(0, 8)}` }), ` ${percent(job.progress)}`,
      h("div", { class: "quiet" }, job.progress_text ?? "")];
  }
  if (job.state === "waiting") return ["again ", age(job.next_try_at), h("div", { class: "quiet" }, `after attempt ${job.attempt}`)];
  return h("span", { class: "quiet" }, job.attempt > 1 ? `${job.attempt} attempts` : "–");
}

export const DELIVERY_HEADS = ["Destination", "State", "Object", "Study", "Answer of the peer", "Attempt", "Sent", "Actions"];

export const deliveryRows = (deliveries) => deliveries.map((each) => [
  each.destination,
  [chip(each.state), each.commitment === "asked" ? h("div", { class: "quiet" }, "commitment asked") : null],
  [h("a", { href: `#jobs/${each.job_id}`, "data-key": `dj-${each.id}` }, each.kind_title), h("div", { class: "quiet" }, each.description)],
  uid(each.study_instance_uid, `#studies/${each.study_instance_uid}`),
  answer(each), String(each.attempt), each.state === "waiting" ? ["again ", age(each.next_try_at)] : age(each.sent_at),
  actions("deliveries", each, `delivery of ${each.kind_title.toLowerCase()} to ${each.destination}`),
]);

export function answer(each) {
  // the words of the delivery room begin with the status itself; without words it is shown bare
  const words = each.status_text ?? (each.status === null ? "" : `0x${each.status.toString(16).toUpperCase().padStart(4, "0")}`);
  const error = each.error && !["sent", "committed"].includes(each.state)
    ? h("div", { class: "err" }, `${each.error.code}: ${each.error.message}`, each.error.advice ? h("div", { class: "quiet" }, each.error.advice) : null) : null;
  const syntax = each.transfer_syntax ? h("div", { class: "quiet" }, each.transfer_syntax) : null;
  return words || error ? [words, syntax, error] : h("span", { class: "quiet" }, "–");
}

export const EVENT_HEADS = ["When", "Severity", "What", "Who", "Message", "About"];

export const eventRows = (events) => events.map((each) => [
  age(each.at), chip(each.severity), h("code", {}, each.kind), each.actor, each.message,
  each.job_id ? h("a", { href: `#jobs/${each.job_id}`, "data-key": `ev-${each.id}` }, "job") : each.study_instance_uid ? h("a", { href: `#studies/${each.study_instance_uid}`, "data-key": `ev-${each.id}` }, "study") : "",
]);
