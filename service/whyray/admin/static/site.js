// The configuration in force: routes with a test, packages, destinations.

import { echo, say } from "./acting.js";
import { Problem, post } from "./api.js";
import { age, chip, facts, fullUid, h, may, number, panel, table, uid } from "./dom.js";

export const routes = {
  title: "Routes",
  controls: () => (may("steer") ? tester() : h("span")),
  paths: () => ["routes"],
  body: ([items]) => [panel(table("Routes in force", ["Route", "When", "Complete", "Runs", "Explains", "Sends", "Priority"], items.map((each) => [
    [each.name, each.enabled ? "" : h("div", { class: "quiet" }, "not enabled"), each.dry_run ? h("div", { class: "quiet" }, "dry run: sends nothing") : ""],
    each.when, each.complete, each.packages.join(", "), each.explain.join(", "),
    each.send_to.length ? `${each.send_as.join(", ")} to ${each.send_to.join(", ")}` : "nothing", each.priority,
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
      verdicts.replaceChildren(panel(table(`What the routes say (${answer.files} files)`, ["Route", "Verdict", "Series", "Clauses, and what was found"], answer.verdicts.map((each) => [
        each.route, each.matches ? chip("match", "matches") : chip("failed", "refuses"), uid(each.series_instance_uid),
        each.clauses.map((one) => h("div", {}, chip(one.held ? "match" : "failed", one.held ? "holds" : "refused"), " ", h("code", {}, one.clause), " found: ", h("code", {}, one.found))),
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
  body: ([items]) => [panel(table("Installed model packages", ["Package", "Title", "Task", "Tier", "#Targets", "Digest", "Licence"], items.map((each) => [
    h("a", { href: `#packages/${each.name}/${each.version}`, "data-key": `pkg-${each.name}-${each.version}` }, `${each.name}@${each.version}`),
    each.problem ? h("span", { class: "err" }, each.problem) : each.title, each.task, each.tier, String(each.targets.length), uid(each.digest), each.licence,
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
  body: ([items]) => [panel(table("Destinations", ["Destination", "Kind", "Address", "Commitment", "#Queued", "#Waiting", "#Failed", "#Sent", "Last sent", "Last error", "Actions"], items.map((each) => [
    h("a", { href: `#deliveries?destination=${encodeURIComponent(each.destination)}`, "data-key": `dest-${each.destination}` }, each.destination),
    each.kind === "dicom" ? "DICOM" : "DICOMweb", h("code", {}, each.address), each.storage_commitment ? "asked for" : "no",
    number((each.states.queued ?? 0) + (each.states.sending ?? 0)), number(each.states.waiting ?? 0), number(each.states.failed ?? 0), number((each.states.sent ?? 0) + (each.states.committed ?? 0)),
    age(each.last_sent_at), each.last_error ? h("span", { class: "err", title: each.last_error.advice }, `${each.last_error.code}: ${each.last_error.message}`) : "–", echo(each.destination),
  ]), { empty: "The configuration names no destinations." }))],
};
