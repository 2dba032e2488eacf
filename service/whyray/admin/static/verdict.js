// Accepting or rejecting a result, in its large view.

import { Problem, post, remove, get } from "./api.js";
import { h } from "./dom.js";

const REASONS = [["", "no reason given"], ["wrong-answer", "the model's answer is wrong"], ["wrong-place", "the explanation points at the wrong place"],
  ["not-plausible", "not plausible, though the answer may be right"], ["too-vague", "it says too little"], ["not-readable", "the picture can't be read"],
  ["not-useful", "right, and of no use"], ["other", "something else"]];

export function verdict(result) {
  const path = `results/${result.sop_instance_uid}/feedback`;
  const reason = h("select", { id: "verdict-reason" }, REASONS.map(([value, words]) => h("option", { value }, words)));
  const comment = h("input", { id: "verdict-comment", maxlength: "500", autocomplete: "off" });
  const status = h("p", { class: "quiet", "aria-live": "polite", id: "verdict-said" }, " ");
  const button = (name, words, work) => h("button", { type: "button", "data-verdict": name, onclick: () => trying(work) }, words);
  const give = (which) => () => post(path, { verdict: which, reason: reason.value || null, comment: comment.value || null });
  const back = button("take-back", "Take back", () => remove(path));
  async function trying(work) {
    try {
      tell(await work());
    } catch (error) {
      status.textContent = error instanceof Problem ? `${error.message}. ${error.advice}` : error.message;
    }
  }
  function tell({ mine, accepted, rejected }) {
    status.textContent = `${mine ? `You ${mine.verdict === "accept" ? "accepted" : "rejected"} it. ` : ""}${accepted} accepted, ${rejected} rejected.`;
    back.hidden = !mine;
    if (mine) { reason.value = mine.reason ?? ""; comment.value = mine.comment ?? ""; }
  }
  back.hidden = true;
  trying(async () => (await get(path)).body);
  return h("fieldset", { class: "verdict" }, h("legend", {}, "Is this result right and of use?"),
    h("p", {}, h("label", { for: "verdict-reason" }, "Reason"), reason),
    h("p", {}, h("label", { for: "verdict-comment" }, "Comment; nothing that names a patient"), comment),
    h("p", {}, button("accept", "Accept", give("accept")), " ", button("reject", "Reject", give("reject")), " ", back), status);
}
