// Where the keyboard is, and what is unfolded: kept while the page is drawn anew, and given back by buttons and dialogs.

const at = (id) => document.getElementById(id);
const all = () => [...at("body").querySelectorAll("[data-key]")];
const keyed = (key) => key && all().find((element) => element.dataset.key === key);

// Rows may link to the same study: a link is told by what else its row holds.
export const address = (element) => [...(element.closest("tr")?.querySelectorAll("[data-key]") ?? []), element].map((keyed) => keyed.dataset.key).join(" ");

// On nothing, or on what a closed dialog hides until the browser notices.
const lost = () => [null, document.body].includes(document.activeElement) || document.activeElement.closest("dialog:not([open])") !== null;

// Redraws the body. `acted`: the key of a button that has acted, from which browsers take the focus while it is disabled.
export function redraw(children, acted = null) {
  const body = at("body"), active = document.activeElement;
  const held = body.contains(active);
  const key = held ? active.dataset.key : acted, place = held && key ? address(active) : null;
  const unfolded = new Set([...body.querySelectorAll("details[open] > summary")].map((summary) => summary.dataset.key));
  body.replaceChildren(...children.filter(Boolean));
  for (const summary of body.querySelectorAll("details > summary")) summary.parentElement.open = unfolded.has(summary.dataset.key);
  for (const region of body.querySelectorAll(".scroll")) scrollable(region);
  if (held || (acted && lost())) (all().find((element) => address(element) === place) ?? keyed(key) ?? at("main")).focus({ preventScroll: true });
}

// A table wider than its panel can be scrolled by arrow keys, too.
function scrollable(region) {
  if (region.scrollWidth <= region.clientWidth) return;
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-label", region.querySelector("caption").textContent);
  region.dataset.key = `scroll-${region.querySelector("caption").textContent}`;
}

// Opens a dialog; closed, the focus is where it was, though the page below was drawn anew meanwhile.
export function openModal(dialog) {
  const key = document.activeElement?.dataset.key;
  dialog.showModal();
  dialog.addEventListener("close", () => { if (key && lost()) (keyed(key) ?? at("main")).focus({ preventScroll: true }); }, { once: true });
}
