// Run in the page: names what keyboard and screen reader users would miss.
const faults = [];
const named = (element) => (element.getAttribute('aria-label') || element.textContent || element.labels?.[0]?.textContent || '').trim();
if (document.documentElement.lang !== 'en') faults.push('no language');
if (!document.title) faults.push('no title');
if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
for (const landmark of ['header', 'nav', 'main', 'footer']) if (!document.querySelector(landmark)) faults.push(`no ${landmark}`);
let level = 0;
for (const element of document.querySelectorAll('main > h1, #controls :is(h2, h3), #body :is(h2, h3)')) {
  const own = Number(element.tagName[1]);
  if (own > level + 1) faults.push(`heading jumps to ${element.textContent}`);
  level = own;
}
for (const element of document.querySelectorAll('table')) {
  if (!element.caption?.textContent) faults.push('a table without caption');
  if (element.querySelector('th:not([scope])')) faults.push('a header cell without scope');
}
for (const element of document.querySelectorAll('button, a, select, input:not([type=hidden])')) {
  if (element.closest('dialog:not([open])')) continue;
  if (!named(element)) faults.push(`no name: ${element.outerHTML.slice(0, 80)}`);
  const shown = element.innerText?.trim().toLowerCase() ?? '', label = element.getAttribute('aria-label')?.toLowerCase();
  if (label !== undefined && element.matches('button, a') && !label.includes(shown)) faults.push(`called otherwise than it reads: ${label}`);
  if (element.tabIndex < 0) faults.push(`not reachable: ${element.outerHTML.slice(0, 80)}`);
}
for (const element of document.querySelectorAll('img')) if (!element.hasAttribute('alt')) faults.push('a picture without alt');
for (const element of document.querySelectorAll('progress, meter')) if (!named(element)) faults.push('a bar without name');
const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
if (new Set(ids).size !== ids.length) faults.push('an id is used twice');
if (!document.querySelector('[aria-live]')) faults.push('nothing is announced');
if (document.documentElement.scrollWidth > innerWidth + 1) faults.push(`wider than the window: ${document.documentElement.scrollWidth}`);
return faults;
