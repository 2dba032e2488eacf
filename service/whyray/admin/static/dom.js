// Small builders of elements. Text is always set as text: nothing from the server is parsed as HTML.

export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// As people write it: names of findings may hold underscores, descriptions begin with a small letter.
export const spoken = (name) => name.replaceAll("_", " ");
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// A count, so that 1,392 and 13,920 are told apart at a glance.
export const number = (value) => value.toLocaleString("en");

// Whether who is logged in has a right: what they can't do is not offered. The server decides, whatever is offered.
const RIGHTS = new Set((document.documentElement.dataset.rights ?? "").split(" "));
export const may = (right) => RIGHTS.has(right);

const MARKS = {
  failed: "✕", error: "✕", red: "✕", gone: "✕", refused: "✕", waiting: "◷", warning: "!", amber: "!", receiving: "◷",
  done: "✓", sent: "✓", committed: "✓", green: "✓", alive: "✓", match: "✓", running: "▶", sending: "▶", working: "▶",
  reliable: "✓", caution: "!", not_shown: "✕",
  queued: "·", info: "·", cancelled: "–", cancelling: "–", superseded: "↻", stopped: "–", unrouted: "·",
};

export const chip = (word, text = word) => h("span", { class: `chip ${word}`, "data-mark": MARKS[word] ?? "·" }, text);

// How far an explanation of each grade can be trusted, as it is called where nothing else was written.
export const LEVELS = { green: "reliable", amber: "use with caution", red: "not shown" };

export const grade = (word) => (word ? chip(word, LEVELS[word]) : h("span", { class: "quiet" }, "–"));

export const trust = (graded) => (graded.trust ? chip(graded.trust.level, graded.trust.name) : grade(graded.grade));

export function uid(text, href) {
  const short = text.length > 24 ? `${text.slice(0, 8)}…${text.slice(-12)}` : text;
  const props = { class: "uid", title: text };
  return href ? h("a", { ...props, href, "data-key": `${href} ${text}` }, short) : h("span", props, short);
}

export const fullUid = (text) => h("span", { class: "uid full" }, text);

export function age(stamp) {
  if (!stamp) return h("span", { class: "quiet" }, "–");
  const node = h("time", { datetime: stamp, title: new Date(stamp).toLocaleString() });
  tick(node);
  return node;
}

function tick(node) {
  const seconds = (Date.now() - Date.parse(node.dateTime)) / 1000;
  const words = seconds < 0 ? `in ${span(-seconds)}` : seconds < 5 ? "now" : `${span(seconds)} ago`;
  if (node.textContent !== words) node.textContent = words;
}

export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export const tickAll = () => document.querySelectorAll("time").forEach(tick);

export function bytes(number) {
  let rest = number;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (rest < 1024) return `${rest < 10 && unit !== "B" ? rest.toFixed(1) : Math.round(rest)} ${unit}`;
    rest /= 1024;
  }
  return `${rest.toFixed(1)} TiB`;
}

// A share as the pages of results write it (`whyray.results.numbers`), in English: the same figure here and there.
export function percent(share) {
  if (share === null || share === undefined) return "–";
  const hundredth = 100 * share;
  if (hundredth > 0 && hundredth < 1) return "below 1%";
  return `${hundredth.toFixed(hundredth > 0 && hundredth < 9.95 ? 1 : 0)}%`;
}

export const wholePercent = (share) => `${(100 * share).toFixed(0)}%`;

export const significant = (value, digits) => Number(value.toPrecision(digits)).toLocaleString("en", { maximumSignificantDigits: digits, useGrouping: "min2" });

// What the model says of a finding in figures: a probability, a value with its unit, or nothing.
export function figure({ probability = null, value = null, unit = null }) {
  if (probability !== null) return percent(probability);
  if (value === null) return "";
  return significant(value, 4) + (unit && unit !== "1" ? `\u00a0${unit.replace("mm2", "mm²")}` : "");
}

export function table(caption, heads, rows, { hidden = false, empty = "None." } = {}) {
  if (rows.length === 0) return h("div", {}, hidden ? null : h("h2", {}, caption), h("p", { class: "quiet" }, empty));
  const head = heads.map((heading) => h("th", { scope: "col", class: heading.startsWith("#") ? "number" : null }, heading.replace("#", "")));
  return h("div", { class: "scroll" }, h("table", {},
    h("caption", { class: hidden ? "visually-hidden" : null }, caption), h("thead", {}, h("tr", {}, head)),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, index) => {
      const number = heads[index].startsWith("#") ? "number" : heads[index] === "Actions" ? "act" : null;
      return index === 0 ? h("th", { scope: "row" }, cell) : h("td", { class: number }, cell);
    }))))));
}

export const facts = (pairs) => h("dl", { class: "facts" },
  pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

export const panel = (...children) => h("section", { class: "panel" }, ...children);
