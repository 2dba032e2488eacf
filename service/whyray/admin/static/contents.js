// A study that came again with other content: how it differs, what to do about it, and what an archive still has.

import { post, query } from "./api.js";
import { ask, doing, say } from "./acting.js";
import { h, may, number } from "./dom.js";

const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
const PIXELS = { same: "The pixel data are the same.", other: "The pixel data are others.", "not compared": "The pixel data are encoded otherwise and were not compared.", unreadable: "Some can't be read." };

const ANEW = "Its routes run anew on what came last. Results of the former content that were not sent are cancelled; those that an archive has stay there.";

export function newer(study) {
  const contents = study.newer;
  if (!contents) return null;
  const wrong = contents.identification.length > 0;
  return h("div", { class: `box ${wrong ? "error" : "warning"}` },
    h("p", {}, h("strong", {}, wrong ? "Perhaps under the wrong patient. " : null), `${counted(contents.instances, "instance")} came again with ${wrong ? `another ${contents.identification.join(", ")}` : "other content"}. `,
      contents.comparing ? `${number(contents.comparing)} are still being compared. ` : null, contents.pixels.map((comparison) => `${PIXELS[comparison]} `),
      contents.others.length ? `${contents.others.join(", ")} differ${wrong ? " too" : ""}. ` : null, "What came before is in use."),
    wrong && contents.alone ? h("p", {}, `${counted(contents.alone, "instance")} of the study did not come again: have the PACS send the whole study.`) : null,
    h("p", {}, h("strong", {}, "What to do: "), wrong ? "Look up in the PACS which of the two is right." : "Ask the sender why one SOP Instance UID names two contents."),
    may("steer") ? h("p", { class: "buttons" },
      wrong && contents.alone
        ? decision(study, "use-newest", "Use the newest anyway", `The study may name two patients or orders then, for part of it did not come again. ${ANEW}`, { anyway: true })
        : decision(study, "use-newest", "Use the newest", ANEW),
      decision(study, "keep", "Keep what is in use", "What came last stays apart, and nobody is asked about it any more.")) : null);
}

function decision(study, action, label, effect, values = {}) {
  return h("button", {
    type: "button", "data-key": `${action}-${study.study_instance_uid}`, "data-action": action,
    onclick: (event) => doing(event.currentTarget, async () => {
      if (!(await ask(`${label}?`, effect, label))) return;
      const done = await post(`studies/${encodeURIComponent(study.study_instance_uid)}/${action}${query({ ...values, shown: study.newer.version })}`);
      say(action === "keep" ? `What is in use stays so for ${counted(done.instances, "instance")}.`
        : `The newest content of ${counted(done.instances, "instance")} is in use; ${counted(done.jobs, "job")} and ${counted(done.results, "result")} were withdrawn.`);
    }),
  }, label);
}

export function withdrawn(study) {
  const at = Object.entries(study.withdrawn);
  if (at.length === 0) return null;
  return h("div", { class: "box warning" },
    h("p", {}, `Other content of this study is in use since results were sent: ${at.map(([name, count]) => `${counted(count, "result")} at ${name}`).join(", ")}. What replaces them says so (“rev 2, replaces 1”).`),
    h("p", {}, h("strong", {}, "What to do: "), "Look in the archive whether they are under the former patient. If so, have its administrator correct or remove them."));
}
