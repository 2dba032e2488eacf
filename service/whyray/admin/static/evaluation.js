// What people and figures say of packages: verdicts, drift, reader studies.

import { doing, say } from "./acting.js";
import { post, query } from "./api.js";
import { dayChart, shareChart, weekChart } from "./chart.js";
import { age, chip, facts, grade, h, may, panel, percent, table } from "./dom.js";

const number = (value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(3)).toString());
const STANDS = { learning: "info", steady: "done", watch: "warning", drift: "error" };
const standing = (timeSeries) => chip(STANDS[timeSeries.status], { learning: "learning", steady: "steady", watch: "watch", drift: "drifted" }[timeSeries.status]);
const named = (timeSeries) => [timeSeries.measure, timeSeries.target, timeSeries.method ? `by ${timeSeries.method}` : null].filter(Boolean).join(" · ");

export const drift = {
  title: "Drift",
  paths: (params) => [`drift${query({ package: params.get("package") ?? "", measure: params.get("measure") ?? "", status: params.get("status") ?? "" })}`],
  body: ([items]) => [
    h("p", { class: "quiet" }, "The first 200 numbers of each series are compared with its latest 200. Drifted: the population stability index passes 0.25, or what chance reaches once in a thousand."),
    panel(table("Series of numbers by package version", ["Series", "Package", "State", "#First mean", "#Latest mean", "#PSI", "#Alert above", "#KS", "#Numbers", "Newest"], items.map((timeSeries) => [
      h("a", { href: `#drift/${timeSeries.id}`, "data-key": `drift-${timeSeries.id}` }, named(timeSeries)), timeSeries.package, standing(timeSeries),
      number(timeSeries.first_mean), number(timeSeries.latest_mean), number(timeSeries.shift?.psi), number(timeSeries.shift?.alert_above), number(timeSeries.shift?.ks),
      `${timeSeries.first_count} + ${timeSeries.latest_count}`, age(timeSeries.last_at),
    ]), { empty: "No job has ended yet." })),
  ],
};

export const series = (id) => ({
  title: "Drift of one series",
  paths: () => [`drift/${encodeURIComponent(id)}`],
  body: ([timeSeries]) => [
    panel(h("p", {}, standing(timeSeries), " ", h("strong", {}, named(timeSeries)), ` of ${timeSeries.package}`),
      facts([["First numbers", `${timeSeries.first_count}, mean ${number(timeSeries.first_mean)}`], ["Latest numbers", `${timeSeries.latest_count}, mean ${number(timeSeries.latest_mean)}`],
        ["PSI", timeSeries.shift && `${number(timeSeries.shift.psi)}; watch above ${number(timeSeries.shift.watch_above)}, alert above ${number(timeSeries.shift.alert_above)}`],
        ["KS", timeSeries.shift?.ks != null ? `${number(timeSeries.shift.ks)} (p = ${number(timeSeries.shift.ks_p)})` : null], ["Newest", timeSeries.last_at && age(timeSeries.last_at)]])),
    timeSeries.days.length ? panel(h("h2", {}, "By day"), dayChart(timeSeries.days, named(timeSeries)), h("p", { class: "quiet" }, "Line: mean of each day. Behind it: lowest to highest.")) : null,
    timeSeries.shift ? panel(h("h2", {}, "First and latest"), shareChart(timeSeries.shift, named(timeSeries)), h("p", { class: "legend" }, h("span", { class: "key first" }, "first"), " ", h("span", { class: "key latest" }, "latest"))) : null,
  ],
});

export const feedback = {
  title: "Feedback",
  paths: (params) => [`feedback${query({ package: params.get("package") ?? "" })}`, ...(may("pictures") ? [`feedback/verdicts${query({ package: params.get("package") ?? "", limit: 50 })}`] : [])],
  body: ([sums, listed]) => [
    sums.weeks.length ? panel(h("h2", {}, "Verdicts by week"), weekChart(sums.weeks, "Verdicts"), h("p", { class: "legend" }, h("span", { class: "key accepted" }, "accepted"), " ", h("span", { class: "key rejected" }, "rejected"))) : null,
    panel(table("Verdicts by package, finding, method and grade", ["Package", "Finding", "Method", "Grade", "#Accepted", "#Rejected", "Share accepted, 95 % interval", "Why rejected"], sums.tallies.map((tally) => [
      tally.package, tally.target ?? "–", tally.method ?? "–", grade(tally.grade), String(tally.accepted), String(tally.rejected),
      `${percent(tally.share)} (${percent(tally.low)} to ${percent(tally.high)})`,
      Object.entries(tally.reasons).map(([reason, count]) => h("div", {}, `${count} × ${sums.reasons[reason]}`)),
    ]), { empty: "Nobody has judged a result yet. Open a result and accept or reject it." })),
    listed && panel(table("Single verdicts", ["When", "Verdict", "Who", "Package", "Finding", "Method", "Reason", "Comment"], listed.items.map((verdict) => [
      age(verdict.at), chip(verdict.verdict === "accept" ? "green" : "red", verdict.verdict === "accept" ? "accepted" : "rejected"), verdict.actor, verdict.package, verdict.target ?? "–", verdict.method ?? "–",
      verdict.reason ? sums.reasons[verdict.reason] : "–", verdict.comment ?? "–",
    ]), { empty: "None." })),
  ],
};

const opening = (study) => h("button", {
  type: "button", "data-key": `open-${study.name}`, "data-study-action": study.open ? "close" : "open",
  onclick: (event) => doing(event.currentTarget, async () => {
    const moved = await post(`reader-studies/${encodeURIComponent(study.name)}/${study.open ? "close" : "open"}`);
    say(`${moved.name} is ${moved.open ? "open" : "closed"} now.`);
  }),
}, study.open ? "Close" : "Open");

export const readerStudies = {
  title: "Reader studies",
  paths: () => ["reader-studies"],
  body: ([items]) => [
    h("p", {}, "Whether explanations help people: see `whyray study --help`. ", h("a", { href: "/reading", "data-key": "reading" }, "My own place in a study")),
    ...(items.length ? items : [null]).map((study) => (study === null ? panel(h("p", { class: "quiet" }, "No reader study. `whyray study export` makes a kit, `whyray study import` takes it in.")) : panel(
      h("h2", {}, study.title, " ", chip(study.open ? "alive" : "stopped", study.open ? "open" : "closed"), " ", opening(study)),
      facts([["Name", study.name], ["Question", study.question], ["Cases", String(study.cases)], ["Imported", age(study.imported_at)]]),
      table("Readers", ["Place", "Log-in", "Agreed", "#Answered", "#Of", "#Interrupted", "Last answer"], study.readers.map((reader) => [
        reader.reader, reader.user, reader.consented_at ? age(reader.consented_at) : "not yet", String(reader.answered), String(reader.total), String(reader.interrupted), age(reader.last_answer_at),
      ]))))),
  ],
};
