// Lists with filters and paging: studies, jobs, results, deliveries, events.

import { bulk, gallery } from "./acting.js";
import { get, query } from "./api.js";
import { LEVELS, age, chip, h, may, number, sentence, spoken, table, trust, uid } from "./dom.js";
import { DELIVERY_HEADS, deliveryRows, EVENT_HEADS, eventRows, JOB_HEADS, jobRows } from "./rows.js";

function list({ title, filters, path, limit = 50, render, extra = () => null }) {
  const names = filters.map((filter) => filter.name);
  const chosen = (params) => Object.fromEntries(names.map((name) => [name, params.get(name) ?? ""]));
  return {
    title,
    controls: (params, go) => h("form", { class: "controls", onsubmit: (event) => event.preventDefault() },
      filters.map((filter) => field(filter, params, go))),
    paths: (params) => [path + query({ ...chosen(params), limit, after: params.get("after") ?? "" })],
    body: ([page], params, go) => [extra(page, chosen(params)), h("section", { class: "panel" }, render(page.items), pager(page, params, go))],
  };
}

// `choices` names the list of GET choices whose values are offered; without it, any text may be entered.
function field({ name, label, choices }, params, go) {
  const change = (event) => {
    const next = new URLSearchParams(params);
    next.delete("after");
    if (event.target.value) next.set(name, event.target.value.trim());
    else next.delete(name);
    go(next);
  };
  const id = `filter-${name}`;
  const value = params.get(name) ?? "";
  const input = choices
    ? offered(h("select", { id, onchange: change }, h("option", { value: "" }, "all")), choices, value)
    : h("input", { id, value, onchange: change, autocomplete: "off", spellcheck: "false" });
  return h("div", {}, h("label", { for: id }, label), input);
}

// Out of reach, only "all" and what is chosen are offered; the page says so itself that it has no connection.
function offered(select, choices, value) {
  const option = (choice, titles = {}) => h("option", { value: choice, selected: choice === value }, LEVELS[choice] ?? titles[choice] ?? choice);
  if (value) select.append(option(value));
  get("choices").then(({ body }) => select.replaceChildren(select.firstChild, ...body[choices].map((choice) => option(choice, body.kind_titles))), () => {});
  return select;
}

// A page begins beyond a row, not at a number: the number is where it was when the page was turned.
function pager({ total, at_least, offset, items, next, previous }, params, go) {
  if (!next && !previous) return total ? h("p", { class: "quiet" }, `${number(total)} in all`) : null;
  const to = (cursor) => () => {
    const turned = new URLSearchParams(params);
    if (cursor) turned.set("after", cursor);
    else turned.delete("after");
    go(turned);
  };
  return h("nav", { class: "pager", "aria-label": "Pages" },
    h("button", { type: "button", "data-key": "newest", disabled: !previous, onclick: to(null) }, "Newest"),
    h("button", { type: "button", "data-key": "newer", disabled: !previous, onclick: to(previous) }, "Newer"),
    h("span", {}, `${number(offset + 1)}–${number(offset + items.length)} of ${at_least ? "more than " : ""}${number(total)}`),
    h("button", { type: "button", "data-key": "older", disabled: !next, onclick: to(next) }, "Older"));
}

const acting = (of) => (page, { state, route, destination, error, study }) => {
  const possible = ["retry", "cancel"].filter((action) => page.items.some((row) => row.actions.includes(action)));
  if (study || !state || !possible.length || !["failed", "waiting", "queued"].includes(state)) return null;
  const body = { of, state, ...(route ? { route } : {}), ...(destination ? { destination } : {}), ...(error ? { error_code: error } : {}) };
  return h("p", {}, possible.map((action) => [bulk(action === "retry" ? "Retry all that can be" : `Cancel all ${number(page.total)}`, { ...body, action }), " "]));
};

export const jobs = list({
  title: "Jobs", path: "jobs", extra: acting("jobs"),
  filters: [{ name: "state", label: "State", choices: "job_states" }, { name: "route", label: "Route" }, { name: "package", label: "Package" }, { name: "destination", label: "Destination" }, { name: "error", label: "Error" }, { name: "study", label: "Study Instance UID" }],
  render: (items) => table("Jobs", JOB_HEADS, jobRows(items), { hidden: true, empty: "No such jobs." }),
});

export const deliveries = list({
  title: "Deliveries", path: "deliveries", extra: acting("deliveries"),
  filters: [{ name: "state", label: "State", choices: "delivery_states" }, { name: "destination", label: "Destination" }, { name: "route", label: "Route" }, { name: "error", label: "Error" }, { name: "study", label: "Study Instance UID" }],
  render: (items) => table("Deliveries", DELIVERY_HEADS, deliveryRows(items), { hidden: true, empty: "No such deliveries." }),
});

export const studies = list({
  title: "Studies", path: "studies",
  filters: [{ name: "state", label: "State", choices: "study_states" }, { name: "uid", label: "Study Instance UID, or its end" }],
  render: (items) => table("Studies", ["Study Instance UID", "State", "Modality", "#Series", "#Instances", "#Conflicts", "#Jobs", "Last received", "Routing says"], items.map((study) => [
    uid(study.study_instance_uid, `#studies/${study.study_instance_uid}`), chip(study.state), study.modalities.join(", ") || "–",
    String(study.series), String(study.instances), study.conflicts ? chip("warning", String(study.conflicts)) : "0", String(study.jobs), age(study.last_received_at), study.note ?? "–",
  ]), { hidden: true, empty: "No such studies." }),
});

export const results = list({
  title: "Results", path: "results", limit: 48,
  filters: [{ name: "grade", label: "Explanation", choices: "grades" }, { name: "finding", label: "Finding" }, { name: "kind", label: "Kind", choices: "result_kinds" }, { name: "study", label: "Study Instance UID" }],
  render: (items) => [gallery(items), objects(items.filter((result) => !result.picture || !may("pictures")))],
});

export const objects = (items) => (items.length === 0 ? null : table(may("pictures") ? "Objects without a picture of their own" : "Objects", ["Object", "Description", "Finding", "Explanation", "Study", "Made", "File"], items.map((result) => [
  result.kind_title, sentence(result.description), result.finding ? spoken(result.finding) : "–", trust(result),
  uid(result.study_instance_uid, `#studies/${result.study_instance_uid}`), age(result.created_at), may("identity") ? h("a", { href: result.dicom, "data-key": result.dicom }, "DICOM") : "–",
])));

export const events = list({
  title: "Events", path: "events", limit: 100,
  filters: [{ name: "severity", label: "Severity", choices: "severities" }, { name: "kind", label: "Kind, e.g. admin or job.failed" }, { name: "actor", label: "Who" }, { name: "study", label: "Study Instance UID" }],
  render: (items) => table("Events", EVENT_HEADS, eventRows(items), { hidden: true, empty: "No such events." }),
});
