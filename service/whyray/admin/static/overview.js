// The first view: what runs, what is stuck, what to do.

import { bulk, gallery } from "./acting.js";
import { age, bytes, chip, h, number, panel, table } from "./dom.js";
import { eventRows, jobRows, JOB_HEADS, EVENT_HEADS } from "./rows.js";

export const overview = {
  title: "Overview",
  paths: () => ["overview", "jobs?state=running&state=queued&state=cancelling&limit=8", "results?pictured=true&limit=6", "events?limit=8"],
  body: ([now, active, results, events]) => [
    tiles(now),
    panel(h("h2", {}, "Needs attention"), attention(now.attention)),
    panel(table("Running and queued", JOB_HEADS, jobRows(active.items), { empty: "Nothing runs or waits for a worker." })),
    h("div", { class: "grid" }, panel(destinations(now.deliveries)), panel(processes(now.processes))),
    panel(h("h2", {}, "Latest overlays"), gallery(results.items)),
    panel(table("Latest events", EVENT_HEADS, eventRows(events.items))),
  ],
};

function tiles(now) {
  const link = (view, count) => h("a", { href: `#${view}`, "data-key": `tile-${view}` }, number(count ?? 0));
  const tile = (name, value, kind) => h("div", { class: kind ?? null }, h("dt", {}, name), h("dd", {}, value));
  const oldest = now.queue.oldest_queued_at;
  return h("dl", { class: "tiles" },
    tile("jobs queued", link("jobs?state=queued", now.jobs.queued)),
    tile("jobs running", link("jobs?state=running", now.jobs.running)),
    tile("jobs waiting", link("jobs?state=waiting", now.jobs.waiting), now.jobs.waiting ? "warn" : null),
    tile("jobs failed", link("jobs?state=failed", now.jobs.failed), now.jobs.failed ? "bad" : null),
    tile("jobs done", link("jobs?state=done", now.jobs.done)),
    tile("studies receiving", link("studies?state=receiving", now.studies.receiving)),
    tile("oldest queued", oldest ? age(oldest) : "–"),
    tile("storage free", bytes(now.storage_free_bytes)));
}

function attention(items) {
  if (items.length === 0) return h("p", { class: "allwell" }, "Nothing is stuck.");
  return h("ul", { class: "attention" }, items.map((item) => h("li", { class: item.severity },
    h("div", {},
      h("h3", {}, chip(item.severity), " ", item.title, item.since ? [" · began ", age(item.since)] : null),
      h("p", {}, item.message),
      h("p", {}, h("strong", {}, "What to do: "), item.advice)),
    h("div", { class: "buttons" },
      item.view !== "overview" ? h("a", { class: "button", href: `#${item.view}`, "data-key": `show-${item.kind}-${item.view}` }, "Show") : null,
      item.remedies.map((remedy) => bulk(remedy.label, remedy.body))))));
}

function destinations(rows) {
  const sum = (row, ...states) => number(states.reduce((count, state) => count + (row.states[state] ?? 0), 0));
  return table("Destinations", ["Destination", "#Queued", "#Waiting", "#Failed", "#Sent", "Last sent", "Last error"], rows.map((row) => [
    h("a", { href: `#deliveries?destination=${encodeURIComponent(row.destination)}`, "data-key": `dest-${row.destination}` }, row.destination, row.configured ? "" : " (not configured)"),
    sum(row, "queued", "sending"), sum(row, "waiting"), sum(row, "failed"), sum(row, "sent", "committed"),
    age(row.last_sent_at), row.last_error ? h("span", { class: "err", title: row.last_error.message }, row.last_error.code) : "–",
  ]), { empty: "No destinations." });
}

// In the words of `whyray status`.
function standing(process) {
  if (process.alive) return process.error ? chip("warning", "hindered") : chip("alive");
  return chip("gone", process.error ? "ended" : "lost");
}

function processes(rows) {
  return table("Processes", ["Process", "Role", "State", "Last sign of life", "Started"], rows.map((process) => [
    h("span", { class: "uid" }, process.name), process.role, [standing(process), process.error ? [" ", `${process.error.code}: ${process.error.message}`] : null], age(process.seen_at), age(process.started_at),
  ]), { empty: "No process has shown a sign of life." });
}
