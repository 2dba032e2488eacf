// Rows of the tables that several views share.

import { actions } from "./acting.js";
import { age, chip, figure, h, percent, spoken, uid } from "./dom.js";

export const JOB_HEADS = ["Job", "State", "Study", "Route", "Package", "Priority", "Progress", "Findings", "Created", "Actions"];

export const jobRows = (jobs) => jobs.map((job) => [
  h("a", { href: `#jobs/${job.id}`, "data-key": `job-${job.id}`, class: "uid" }, job.id.slice(0, 8)),
  [chip(job.state), job.revision > 1 ? ` rev ${job.revision}` : "", job.error && ["failed", "waiting"].includes(job.state) ? h("div", { class: "err", title: job.error.message }, job.error.code) : null],
  uid(job.study_instance_uid, `#studies/${job.study_instance_uid}`),
  job.route, job.package, job.priority, progress(job),
  job.present.length ? [...job.present.slice(0, 3).map((finding) => h("div", { class: "nowrap" }, `${spoken(finding.name)} ${figure(finding)}`.trim())), job.present.length > 3 ? h("div", { class: "quiet" }, `and ${job.present.length - 3} more`) : null] : job.no_statement ? h("span", { class: "quiet" }, "no statement") : "–",
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

export const deliveryRows = (deliveries) => deliveries.map((delivery) => [
  delivery.destination,
  [chip(delivery.state), delivery.commitment === "asked" ? h("div", { class: "quiet" }, "commitment asked") : null],
  [h("a", { href: `#jobs/${delivery.job_id}`, "data-key": `dj-${delivery.id}` }, delivery.kind_title), h("div", { class: "quiet" }, delivery.description)],
  uid(delivery.study_instance_uid, `#studies/${delivery.study_instance_uid}`),
  answer(delivery), String(delivery.attempt), delivery.state === "waiting" ? ["again ", age(delivery.next_try_at)] : age(delivery.sent_at),
  actions("deliveries", delivery, `delivery of ${delivery.kind_title.toLowerCase()} to ${delivery.destination}`),
]);

export function answer(delivery) {
  // the words of the delivery room begin with the status itself; without words it is shown bare
  const words = delivery.status_text ?? (delivery.status === null ? "" : `0x${delivery.status.toString(16).toUpperCase().padStart(4, "0")}`);
  const error = delivery.error && !["sent", "committed"].includes(delivery.state)
    ? h("div", { class: "err" }, `${delivery.error.code}: ${delivery.error.message}`, delivery.error.advice ? h("div", { class: "quiet" }, delivery.error.advice) : null) : null;
  const syntax = delivery.transfer_syntax ? h("div", { class: "quiet" }, delivery.transfer_syntax) : null;
  return words || error ? [words, syntax, error] : h("span", { class: "quiet" }, "–");
}

export const EVENT_HEADS = ["When", "Severity", "What", "Who", "Message", "About"];

export const eventRows = (events) => events.map((event) => [
  age(event.at), chip(event.severity), h("code", {}, event.kind), event.actor, event.message,
  event.job_id ? h("a", { href: `#jobs/${event.job_id}`, "data-key": `ev-${event.id}` }, "job") : event.study_instance_uid ? h("a", { href: `#studies/${event.study_instance_uid}`, "data-key": `ev-${event.id}` }, "study") : "",
]);
