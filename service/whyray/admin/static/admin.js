// The page: which view is shown (the URL's fragment), asked for anew every two seconds, drawn anew when it changed.

import { accounts } from "./accounts.js";
import { onActed } from "./acting.js";
import { get, Problem } from "./api.js";
import { job, study } from "./details.js";
import { h, number, tickAll } from "./dom.js";
import { drift, feedback, readerStudies, series } from "./evaluation.js";
import { redraw } from "./focus.js";
import { deliveries, events, jobs, results, studies } from "./lists.js";
import { method, methods } from "./methods.js";
import { overview } from "./overview.js";
import { destinations, pack, packages, routes } from "./site.js";

const EVERY = 2000;
const LISTS = { overview, studies, jobs, results, deliveries, events, routes, packages, methods, destinations, feedback, drift, "reader-studies": readerStudies, accounts };
const DETAILS = { jobs: job, studies: study, packages: pack, methods: method, drift: series };

let view = overview;
let params = new URLSearchParams();
let round = 0; // which view's answers are still wanted
let timer;

const at = (id) => document.getElementById(id);

function go(next) {
  const [path] = location.hash.slice(1).split("?");
  location.hash = `${path || "overview"}${next.size ? `?${next}` : ""}`;
}

function navigate() {
  const [path, search] = location.hash.slice(1).split("?");
  const [name, ...rest] = (path || "overview").split("/").map(decodeURIComponent);
  const same = at("body").dataset.path === path;
  view = rest.length && DETAILS[name] ? DETAILS[name](...rest) : LISTS[name] ?? overview;
  params = new URLSearchParams(search);
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === (LISTS[name] ? name : "overview")) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  at("title").textContent = view.title;
  document.title = `${view.title} · WhyRay`;
  const focused = document.activeElement?.id;
  at("controls").replaceChildren(...(view.controls ? [view.controls(params, go)] : []));
  if (focused) document.getElementById(focused)?.focus();
  if (!same) {
    at("body").dataset.path = path;
    at("body").replaceChildren(h("p", { class: "quiet" }, "reading …"));
    if (document.activeElement?.closest("#body, nav")) at("main").focus({ preventScroll: true });
  }
  round += 1;
  refresh(true);
}

async function refresh(anew = false, acted = null) {
  clearTimeout(timer);
  const begun = round;
  try {
    const answers = await Promise.all(view.paths(params).map(get));
    if (begun !== round) return;
    live("on", `live, ${new Date().toLocaleTimeString()}`);
    if (anew || answers.some((answer) => answer.changed)) redraw(view.body(answers.map((answer) => answer.body), params, go), acted);
    const shown = view.paths(params).indexOf("overview");
    badges(shown < 0 ? (await get("overview")).body : answers[shown].body);
  } catch (error) {
    if (begun !== round) return;
    if (error instanceof Problem) {
      live("on", `live, ${new Date().toLocaleTimeString()}`);
      redraw([h("div", { class: "box error", role: "alert" }, h("p", {}, error.message), h("p", {}, error.advice))]);
    } else {
      live("off", "no connection: figures below may be old");
    }
  }
  if (begun === round) timer = setTimeout(refresh, document.hidden ? 5 * EVERY : EVERY);
}

function live(kind, text) {
  at("live").className = `live ${kind}`;
  at("live-text").textContent = text;
}

function badges(body) {
  const failed = body.deliveries.reduce((sum, destination) => sum + (destination.states.failed ?? 0), 0);
  for (const [name, count] of [["jobs", body.jobs.failed ?? 0], ["deliveries", failed]]) {
    const badge = document.querySelector(`[data-view="${name}"] .badge`);
    badge.hidden = !count;
    badge.textContent = count ? `${number(count)} failed` : "";
  }
}

onActed((key) => { round += 1; refresh(true, key); });
window.addEventListener("hashchange", navigate);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
setInterval(tickAll, 5000);
navigate();
