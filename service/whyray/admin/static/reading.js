// The form of reader studies: one case at a time. Time runs while the pictures are there and the page is in sight.

import { get, post, Problem } from "./api.js";
import { h, panel } from "./dom.js";

const at = (id) => document.getElementById(id);
const path = (name, rest = "") => `reading/${encodeURIComponent(name)}${rest}`;

const stopwatch = {
  ms: 0, since: null, running: false,
  begin() { this.ms = 0; this.since = null; this.running = true; this.look(); },
  look() {
    const seen = this.running && !document.hidden;
    if (seen && this.since === null) this.since = performance.now();
    if (!seen && this.since !== null) { this.ms += performance.now() - this.since; this.since = null; }
  },
  end() { this.running = false; this.look(); return Math.round(this.ms); },
};
document.addEventListener("visibilitychange", () => stopwatch.look());

function show(title, ...children) {
  at("title").textContent = title;
  document.title = `${title} · WhyRay`;
  at("body").replaceChildren(...children);
  at("main").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function say(text) {
  at("said").replaceChildren(h("p", { class: "error" }, text));
  setTimeout(() => at("said").replaceChildren(), 12000);
}

async function trying(work, after = null) {
  try {
    await work();
  } catch (error) {
    say(error instanceof Problem ? `${error.message}. ${error.advice}` : `No answer from the server: ${error.message}`);
    if (after) after();
  }
}

const list = () => trying(async () => {
  const { body } = await get("reading");
  show("Reader studies", body.length === 0
    ? panel(h("p", {}, "You have no place in a reader study."))
    : h("div", {}, body.map((place) => panel(h("h2", {}, place.title), h("p", {}, standing(place)),
      place.where === "closed" || place.where === "washout" ? null
        : h("p", {}, h("button", { type: "button", class: "strong", "data-study": place.name, onclick: () => enter(place.name) }, place.where === "finished" ? "Look" : "Open"))))));
});

function standing(place) {
  const part = place.sessions > 1 ? ` of session ${place.session} of ${place.sessions}` : "";
  const words = { closed: "Closed.", consent: "Not begun.", finished: "All cases are answered. Thank you.",
    washout: `The next session begins on ${place.until ? new Date(place.until).toLocaleDateString() : "a later day"}.` };
  return words[place.where] ?? `${place.answered} of ${place.total} cases${part} answered.`;
}

const enter = (name) => trying(async () => between((await get(path(name))).body));

// Between two cases: nothing is measured here, and a break costs nothing.
function between(place) {
  if (place.where === "consent") return agree(place);
  if (place.where !== "ready") return show(place.title, panel(h("p", { id: "standing" }, standing(place)), back(place)));
  const next = h("button", { type: "button", class: "strong", id: "next", onclick: () => trying(async () => showCase(place, await post(path(place.name, "/next")))) },
    place.answered ? "Next case" : "First case");
  show(place.title, panel(
    h("p", { id: "standing" }, standing(place)),
    h("progress", { value: place.answered, max: place.total, "aria-label": "Cases answered" }),
    h("p", {}, next, " ", back(place)),
    h("p", { class: "quiet" }, "Time is measured from the moment that a case is shown until your answer. Take breaks here.")));
  next.focus();
}

function back(place) {
  if (!place.going_back || !place.answered) return null;
  return h("button", { type: "button", id: "back", onclick: () => trying(async () => showCase(place, await post(path(place.name, "/back"), { position: place.answered }))) }, "Change the last answer");
}

function agree(place) {
  show(place.title, panel(
    h("p", { class: "agreement" }, place.instructions),
    h("p", {}, h("button", { type: "button", class: "strong", id: "agree", onclick: () => trying(async () => between(await post(path(place.name, "/consent")))) }, "I have read this and take part"))));
  at("agree").focus();
}

function showCase(place, shown) {
  const picture = (url, words) => h("figure", {}, h("figcaption", {}, words), h("img", { src: url, alt: words }));
  const pictures = h("div", { class: "pictures" },
    shown.image.map((url) => picture(url, "Image")),
    shown.explanation.map((url, index) => picture(url, shown.explanation.length > 1 ? `Explanation ${index + 1} of ${shown.explanation.length}` : "Explanation")));
  const form = answerForm(place, shown);
  show(`Case ${shown.position} of ${place.total}`, h("div", { class: "reading" }, pictures, form));
  const loading = [...pictures.querySelectorAll("img")].map((image) => image.decode());
  Promise.all(loading).then(() => { stopwatch.begin(); form.dataset.timed = "yes"; }, () => say("A picture could not be loaded. Reload the page."));
  form.querySelector("input").focus();
}

function answerForm(place, shown) {
  const earlier = shown.answer ?? {};
  const scale = place.confidence;
  const steps = Array.from({ length: scale.highest - scale.lowest + 1 }, (_, index) => scale.lowest + index);
  const radio = (name, value, checked) => h("input", { type: "radio", name, value: String(value), required: true, checked });
  const form = h("form", { id: "answer", onsubmit: (event) => { event.preventDefault(); send(place, shown, form); } },
    shown.said ? h("p", { class: "said-by-model" }, h("strong", {}, "The model says: "), shown.said) : null,
    h("fieldset", {}, h("legend", {}, place.question), place.choices.map((choice) => h("label", { class: "one" },
      radio("answer", choice.value, earlier.answer === choice.value), choice.label, " ", h("kbd", {}, choice.value[0].toUpperCase())))),
    h("fieldset", {}, h("legend", {}, "How sure are you?"), h("div", { class: "scale" }, steps.map((step) => h("label", {},
      radio("confidence", step, earlier.confidence === step), String(step)))),
    h("div", { class: "ends" }, h("span", {}, scale.at_lowest), h("span", {}, scale.at_highest))),
    h("p", {}, h("label", { for: "comment" }, "Comment (optional; nothing that names a patient)"), h("textarea", { id: "comment", rows: "3", maxlength: "2000" }, earlier.comment ?? "")),
    h("p", {}, h("button", { type: "submit", class: "strong" }, "Answer"), " ", h("kbd", {}, "Enter")),
    h("p", { class: "quiet" }, h("kbd", {}, "Z"), " full size"));
  return form;
}

async function send(place, shown, form) {
  const button = form.querySelector("button");
  if (button.disabled) return;
  button.disabled = true;
  const milliseconds = stopwatch.end();
  const given = new FormData(form);
  const body = { session: shown.session, position: shown.position, answer: given.get("answer"), confidence: Number(given.get("confidence")), comment: at("comment").value, milliseconds };
  await trying(async () => between(await post(path(place.name, "/answers"), body)), () => { button.disabled = false; stopwatch.running = true; stopwatch.look(); });
}

document.addEventListener("keydown", (event) => {
  const form = at("answer");
  if (!form || event.ctrlKey || event.altKey || event.metaKey || event.target.tagName === "TEXTAREA") return;
  const key = event.key.toLowerCase();
  const choose = (input) => { input.checked = true; input.focus({ preventScroll: true }); event.preventDefault(); };
  const answer = [...form.querySelectorAll("input[name=answer]")].find((input) => input.value[0] === key);
  const step = form.querySelector(`input[name=confidence][value="${CSS.escape(key)}"]`);
  if (answer) choose(answer);
  else if (step) choose(step);
  else if (key === "enter" && event.target.tagName !== "BUTTON") { event.preventDefault(); form.requestSubmit(); }
  else if (key === "z") document.querySelectorAll(".reading figure").forEach((figure) => figure.classList.toggle("zoomed"));
});

document.querySelector("[data-view=studies]").addEventListener("click", (event) => { event.preventDefault(); list(); });
list();
