// All explanation methods by type: what they say, and which packages they can explain.

import { chip, facts, h, panel, table } from "./dom.js";

// Where all packages or none can be explained, that is said instead of their names.
function able(packages) {
  if (packages.length > 1 && packages.every((pack) => pack.possible)) return chip("match", `all ${packages.length} packages`);
  if (packages.length > 1 && !packages.some((pack) => pack.possible)) return chip("stopped", "none yet");
  return packages.map((pack) => [h("span", { title: pack.possible ? null : pack.why_not }, chip(pack.possible ? "match" : "stopped", pack.package)), " "]);
}

export const methods = {
  title: "Methods",
  paths: () => ["methods"],
  body: ([items]) => [...new Set(items.map((row) => row.kind))].map((kind) => panel(
    table(kind[0].toUpperCase() + kind.slice(1), ["Method", "What it says", "Tier", "Explains", "Possible for"], items.filter((row) => row.kind === kind).map((row) => [
      [h("a", { href: `#methods/${row.name}`, "data-key": `method-${row.name}` }, row.name), row.deliverable ? null : h("div", { class: "quiet" }, "research only")],
      row.says, row.tier, row.tasks.join(", ") || "all tasks", able(row.packages),
    ])))),
};

export const method = (name) => ({
  title: name,
  paths: () => [`methods/${encodeURIComponent(name)}`],
  body: ([it]) => [
    panel(facts([["Type", it.kind], ["Tier", it.tier], ["Unit", it.unit], ["Signed", it.signed ? "yes" : "no"], ["Explains", it.tasks.join(", ") || "all tasks"],
      ["Random", it.stochastic ? "another seed gives another answer" : "no"], ["Sent", it.deliverable ? "yes" : "never: for research only"]])),
    panel(h("h2", {}, "What it says"), h("pre", { class: "card" }, it.doc)),
    panel(table("Packages", ["Package", "Possible", "Why not", "What to do"], it.packages.map((pack) => [
      pack.package, chip(pack.possible ? "match" : "stopped", pack.possible ? "yes" : "no"), pack.why_not ?? "–", pack.advice ?? "–",
    ]), { empty: "No package is installed." })),
    panel(table("Parameters", ["Parameter", "Default"], it.parameters.map((parameter) => [h("code", {}, parameter.name), h("code", {}, parameter.default)]), { empty: "It has no parameters." })),
  ],
});
