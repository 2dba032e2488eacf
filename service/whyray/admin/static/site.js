// The configuration in force: routes with a test, packages, destinations.

import { echo, say } from "./acting.js";
import { Problem, post } from "./api.js";
import { age, chip, facts, fullUid, h, may, number, panel, table, uid } from "./dom.js";

export const routes = {
  title: "Routes",
  controls: () => (may("steer") ? tester() : h("span")),
  paths: () => ["routes"],
  body: ([items]) => [panel(table("Routes in force", ["Route", "When", "Complete", "Runs", "Explains", "Sends", "Priority"], items.map((route) => [
    [route.name, route.enabled ? "" : h("div", { class: "quiet" }, "not enabled"), route.dry_run ? h("div", { class: "quiet" }, "dry run: sends nothing") : ""],
    route.when, route.complete, route.packages.join(", "), route.explain.join(", "),
    route.send_to.length ? `${route.send_as.join(", ")} to ${route.send_to.join(", ")}` : "nothing", route.priority,
  ]), { empty: "No routes: every study is treated as `otherwise` says." }))],
};

function tester() {
  const verdicts = h("div", { "aria-live": "polite" });
  const input = h("input", { type: "file", id: "try-files", multiple: true, onchange: () => run(input.files) });
  const drop = h("div", { class: "drop",
    ondragover: (event) => { event.preventDefault(); drop.classList.add("over"); },
    ondragleave: () => drop.classList.remove("over"),
    ondrop: (event) => { event.preventDefault(); drop.classList.remove("over"); run(event.dataTransfer.files); },
  }, h("label", { for: "try-files" }, "Drop DICOM files here to see which routes match, or choose: "), input, h("p", { class: "quiet" }, "The files are not kept."));
  async function run(files) {
    const form = new FormData();
    for (const file of files) form.append("files", file, "file.dcm");
    try {
      verdicts.replaceChildren(h("p", { class: "quiet" }, "reading …"));
      const answer = await post("routes/test", form);
      verdicts.replaceChildren(panel(table(`What the routes say (${answer.files} files)`, ["Route", "Verdict", "Series", "Clauses, and what was found"], answer.verdicts.map((verdict) => [
        verdict.route, verdict.matches ? chip("match", "matches") : chip("failed", "refuses"), uid(verdict.series_instance_uid),
        verdict.clauses.map((clause) => h("div", {}, chip(clause.held ? "match" : "failed", clause.held ? "holds" : "refused"), " ", h("code", {}, clause.clause), " found: ", h("code", {}, clause.value))),
      ]))));
    } catch (error) {
      verdicts.replaceChildren();
      say(error instanceof Problem ? `${error.message}. ${error.advice}` : error.message, "error");
    }
  }
  return h("section", {}, drop, verdicts);
}

export const packages = {
  title: "Packages",
  paths: () => ["packages"],
  body: ([items]) => [panel(table("Installed model packages", ["Package", "Title", "Task", "Tier", "#Targets", "Digest", "Licence"], items.map((row) => [
    h("a", { href: `#packages/${row.name}/${row.version}`, "data-key": `pkg-${row.name}-${row.version}` }, `${row.name}@${row.version}`),
    row.problem ? h("span", { class: "err" }, row.problem) : row.title, row.task, row.tier, String(row.targets.length), uid(row.digest), row.licence,
  ]), { empty: "No packages." }))],
};

export const pack = (name, version) => ({
  title: `${name}@${version}`,
  paths: () => [`packages/${encodeURIComponent(name)}/${encodeURIComponent(version)}`],
  body: ([it]) => [
    panel(facts([["Title", it.title], ["Task", it.task], ["Tier", it.tier], ["Targets", it.targets.join(", ")], ["Digest", fullUid(it.digest)], ["Licence", it.licence], ["Intended use", it.intended_use]])),
    panel(h("h2", {}, "Model card"), h("pre", { class: "card" }, it.card)),
  ],
});

export const destinations = {
  title: "Destinations",
  paths: () => ["destinations"],
  body: ([items]) => [panel(table("Destinations", ["Destination", "Kind", "Address", "Commitment", "#Queued", "#Waiting", "#Failed", "#Sent", "Last sent", "Last error", "Actions"], items.map((row) => [
    h("a", { href: `#deliveries?destination=${encodeURIComponent(row.destination)}`, "data-key": `dest-${row.destination}` }, row.destination),
    row.kind === "dicom" ? "DICOM" : "DICOMweb", h("code", {}, row.address), row.storage_commitment ? "asked for" : "no",
    number((row.states.queued ?? 0) + (row.states.sending ?? 0)), number(row.states.waiting ?? 0), number(row.states.failed ?? 0), number((row.states.sent ?? 0) + (row.states.committed ?? 0)),
    age(row.last_sent_at), row.last_error ? h("span", { class: "err", title: row.last_error.advice }, `${row.last_error.code}: ${row.last_error.message}`) : "–", echo(row.destination),
  ]), { empty: "The configuration names no destinations." }))],
};
