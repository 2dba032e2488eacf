// All explanation methods by type: what they say, and which packages they can explain.

import { chip, facts, h, panel, table } from "./dom.js";

// Where all packages or none can be explained, that is said instead of their names.
function able(packages) {
  if (packages.length > 1 && packages.every((each) => each.possible)) return chip("match", `all ${packages.length} packages`);
  if (packages.length > 1 && !packages.some((each) => each.possible)) return chip("stopped", "none yet");
  return packages.map((each) => [h("span", { title: each.possible ? null : each.why_not }, chip(each.possible ? "match" : "stopped", each.package)), " "]);
}

export const methods = {
  title: "Methods",
  paths: () => ["methods"],
  body: ([items]) => [...new Set(items.map((each) => each.kind))].map((kind) => panel(
    table(kind[0].toUpperCase() + kind.slice(1), ["Method", "What it says", "Tier", "Explains", "Possible for"], items.filter((each) => each.kind === kind).map((each) => [
      [h("a", { href: `#methods/${each.name}`, "data-key": `method-${each.name}` }, each.name), each.deliverable ? null : h("div", { class: "quiet" }, "research only")],
      each.says, each.tier, each.tasks.join(", ") || "all tasks", able(each.packages),
    ])))),
};

export const method = (name) => ({
  title: name,
  paths: () => [`methods/${encodeURIComponent(name)}`],
  body: ([it]) => [
    panel(facts([["Type", it.kind], ["Tier", it.tier], ["Unit", it.unit], ["Signed", it.signed ? "yes" : "no"], ["Explains", it.tasks.join(", ") || "all tasks"],
      ["Random", it.stochastic ? "another seed gives another answer" : "no"], ["Sent", it.deliverable ? "yes" : "never: for research only"]])),
    panel(h("h2", {}, "What it says"), h("pre", { class: "card" }, it.doc)),
    panel(table("Packages", ["Package", "Possible", "Why not", "What to do"], it.packages.map((each) => [
      each.package, chip(each.possible ? "match" : "stopped", each.possible ? "yes" : "no"), each.why_not ?? "–", each.advice ?? "–",
    ]), { empty: "No package is installed." })),
    panel(table("Parameters", ["Parameter", "Default"], it.parameters.map((each) => [h("code", {}, each.name), h("code", {}, each.default)]), { empty: "It has no parameters." })),
  ],
});
