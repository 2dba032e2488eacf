// Run in the page: names what keyboard and screen reader users would miss.
const faults = [];
const named = (each) => (each.getAttribute('aria-label') || each.textContent || each.labels?.[0]?.textContent || '').trim();
if (document.documentElement.lang !== 'en') faults.push('no language');
if (!document.title) faults.push('no title');
if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
for (const one of ['header', 'nav', 'main', 'footer']) if (!document.querySelector(one)) faults.push(`no ${one}`);
let level = 0;
for (const each of document.querySelectorAll('main > h1, #controls :is(h2, h3), #body :is(h2, h3)')) {
  const here = Number(each.tagName[1]);
  if (here > level + 1) faults.push(`heading jumps to ${each.textContent}`);
  level = here;
}
for (const each of document.querySelectorAll('table')) {
  if (!each.caption?.textContent) faults.push('a table without caption');
  if (each.querySelector('th:not([scope])')) faults.push('a header cell without scope');
}
for (const each of document.querySelectorAll('button, a, select, input:not([type=hidden])')) {
  if (each.closest('dialog:not([open])')) continue;
  if (!named(each)) faults.push(`no name: ${each.outerHTML.slice(0, 80)}`);
  const shown = each.innerText?.trim().toLowerCase() ?? '', label = each.getAttribute('aria-label')?.toLowerCase();
  if (label !== undefined && each.matches('button, a') && !label.includes(shown)) faults.push(`called otherwise than it reads: ${label}`);
  if (each.tabIndex < 0) faults.push(`not reachable: ${each.outerHTML.slice(0, 80)}`);
}
for (const each of document.querySelectorAll('img')) if (!each.hasAttribute('alt')) faults.push('a picture without alt');
for (const each of document.querySelectorAll('progress, meter')) if (!named(each)) faults.push('a bar without name');
const ids = [...document.querySelectorAll('[id]')].map((each) => each.id);
if (new Set(ids).size !== ids.length) faults.push('an id is used twice');
if (!document.querySelector('[aria-live]')) faults.push('nothing is announced');
if (document.documentElement.scrollWidth > innerWidth + 1) faults.push(`wider than the window: ${document.documentElement.scrollWidth}`);
return faults;
