// What notes (IHE IOCM) reject of a study, and lifting that for a reason.

import { post, query } from "./api.js";
import { askWhy, doing, say } from "./acting.js";
import { age, fullUid, h, may, number, table } from "./dom.js";

const instances = (count) => `${number(count)} instance${count === 1 ? "" : "s"}`;

export const rejections = (study) => table("Rejected images", ["Note", "Title", "#Instances", "Since", ""], study.rejections.map((row) => [
  fullUid(row.note), row.lifted ? `${row.title}, lifted: used again` : row.title, number(row.instances), age(row.since), row.lifted || !may("steer") ? "–" : lift(study, row),
]));

function lift(study, row) {
  return h("button", {
    type: "button", "data-key": `lift-${row.note}`, "data-action": "lift", "aria-label": `Lift the rejection by note ${row.note}`,
    onclick: (event) => doing(event.currentTarget, async () => {
      const reason = await askWhy("Lift the rejection?", `${instances(row.instances)} rejected (${row.title}): used again, and the routes of the study run anew; what was fetched for a workitem alone is to be ordered anew. A note that comes later rejects anew.`, "Lift it");
      if (reason === null) return;
      const done = await post(`studies/${encodeURIComponent(study.study_instance_uid)}/lift-rejections${query({ reason, note: row.note })}`);
      say(`${instances(done.instances)} rejected no more: ${done.becomes}.`);
    }),
  }, "Lift");
}
