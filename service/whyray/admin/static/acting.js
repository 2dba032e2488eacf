// Buttons that act: ask where many things are concerned, do it, say what came of it, show the new state.

import { Problem, post } from "./api.js";
import { LEVELS, facts, figure, fullUid, h, may, sentence, spoken, trust } from "./dom.js";
import { openModal } from "./focus.js";
import { verdict } from "./verdict.js";

let afterwards = () => {};
export const onActed = (callback) => { afterwards = callback; };

export function say(text, kind = "info") {
  const line = h("p", { class: kind }, text);
  document.getElementById("said").append(line);
  setTimeout(() => line.remove(), kind === "error" ? 15000 : 6000);
}

export function ask(title, text, yes) {
  const dialog = document.getElementById("ask");
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  document.getElementById("ask-yes").textContent = yes;
  dialog.returnValue = "no";
  openModal(dialog);
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

// As `ask`, and why: the words, or null where it is left as it is. In the dialog, since the page below is drawn anew.
export async function askWhy(title, text, yes) {
  const why = document.getElementById("ask-why"), reason = document.getElementById("ask-reason"), agree = document.getElementById("ask-yes");
  why.hidden = false;
  reason.value = "";
  agree.disabled = true;
  reason.oninput = () => { agree.disabled = !reason.value.trim(); };
  reason.onkeydown = (event) => { if (event.key === "Enter") { event.preventDefault(); agree.click(); } };
  try {
    return (await ask(title, text, yes)) ? reason.value : null;
  } finally {
    why.hidden = true;
    agree.disabled = false;
  }
}

export async function doing(button, work) {
  button.disabled = true;
  try {
    await work();
  } catch (error) {
    say(error instanceof Problem ? `${error.message}. ${error.advice}` : `No answer: ${error.message}`, "error");
  } finally {
    button.disabled = false;
    afterwards(button.dataset.key);
  }
}

const ING = { retry: "Retry", cancel: "Cancel" };

export function actions(kind, row, name) {
  const done = ["done", "sent", "committed"].includes(row.state);
  return !may("steer") ? [] : row.actions.map((action) => h("button", {
    type: "button", "data-key": `${action}-${row.id}`, "data-action": action, "aria-label": done ? `Again: ${name}` : `${ING[action]} ${name}`,
    onclick: (event) => doing(event.currentTarget, async () => {
      if (action === "cancel" && !(await ask(`Cancel ${name}?`, "It can be retried later.", "Cancel it"))) return;
      const moved = await post(`${kind}/${row.id}/${action}`);
      say(`${name} is ${moved.state} now.`);
    }),
  }, done ? "Again" : ING[action])).flatMap((button) => [button, " "]);
}

export function bulk(label, body) {
  return may("steer") && h("button", {
    type: "button", "data-key": `bulk-${JSON.stringify(body)}`, "data-bulk": body.action,
    onclick: (event) => doing(event.currentTarget, async () => {
      const { matched } = await post("bulk", { ...body, dry_run: true });
      const which = [body.route, body.package, body.destination, body.error_code].filter(Boolean).join(", ");
      const what = `${matched} ${body.state} ${body.of}${which ? ` (${which})` : ""}`;
      if (!(await ask(`${ING[body.action]} ${what}?`, "Each is an event with your name.", `${ING[body.action]} ${matched}`))) return;
      const done = await post("bulk", body);
      say(`${done.moved} of ${done.matched} ${body.of} moved` + (done.refused ? `; ${done.refused} had moved on meanwhile.` : "."));
    }),
  }, label);
}

export function echo(name) {
  return !may("steer") ? "–" : h("button", {
    type: "button", "data-key": `echo-${name}`, "aria-label": `C-ECHO: ask ${name} whether it is there`,
    onclick: (event) => doing(event.currentTarget, async () => {
      const answer = await post(`destinations/${encodeURIComponent(name)}/echo`);
      say(answer.ok ? `${name} answered in ${Math.round(answer.milliseconds)} ms: ${answer.message}` : `${name} did not answer: ${answer.message}. ${answer.advice ?? ""}`, answer.ok ? "info" : "error");
    }),
  }, "C-ECHO");
}

export function enlarge(result) {
  document.getElementById("large-title").textContent = sentence(result.description);
  document.getElementById("large-body").replaceChildren(h("div", { class: "large-body" },
    h("img", { src: result.picture, alt: described(result) }),
    h("div", {},
      h("p", {}, h("strong", {}, subject(result)), " ", figure(result)),
      h("p", {}, "Explanation: ", trust(result)),
      result.reasons.length ? h("ul", {}, result.reasons.map((reason) => h("li", {}, reason))) : null,
      facts([["Method", result.title], ["Package", result.package], ["Study", fullUid(result.study_instance_uid)],
        ["Object", fullUid(result.sop_instance_uid)], ["Made", new Date(result.created_at).toLocaleString()],
        ["Revision", result.superseded ? "superseded by a newer one" : "current"]]),
      h("p", {}, may("identity") && h("a", { class: "button", href: result.dicom }, "DICOM file"), " ", h("a", { class: "button", href: `#jobs/${result.job_id}`, onclick: () => document.getElementById("large").close() }, "Job")),
      result.superseded ? null : verdict(result),
      h("p", { class: "notice-large" }, "Not for diagnostic use."))));
  openModal(document.getElementById("large"));
}

// What a result is about: its finding, or what it says of all of them.
const subject = (result) => (result.finding ? spoken(result.finding) : sentence(result.description));

const described = (result) => [result.kind_title, subject(result), figure(result), result.title,
  result.trust || result.grade ? `explanation ${result.trust?.name ?? LEVELS[result.grade]}` : null].filter(Boolean).join(", ");

export function gallery(results) {
  const pictured = results.filter((result) => result.picture);
  if (pictured.length && !may("pictures")) return h("p", { class: "quiet" }, `${pictured.length} pictures, which this role does not see.`);
  if (pictured.length === 0) return h("p", { class: "quiet" }, "No pictures.");
  return h("ul", { class: "gallery" }, pictured.map((result) => h("li", {},
    h("button", { type: "button", "data-key": `pic-${result.sop_instance_uid}`, "aria-label": `Enlarge. ${described(result)}`, onclick: () => enlarge(result) },
      h("img", { src: `${result.picture}?width=480`, alt: "", loading: "lazy" })),
    h("div", { class: "words" },
      h("p", {}, h("strong", {}, subject(result)), " ", figure(result)),
      h("p", {}, result.trust || result.grade ? [trust(result), " "] : null, h("span", { class: "quiet" }, result.title ?? result.kind_title), result.superseded ? [" ", chip_superseded()] : null)))));
}

const chip_superseded = () => h("span", { class: "chip superseded", "data-mark": "↻" }, "superseded");
