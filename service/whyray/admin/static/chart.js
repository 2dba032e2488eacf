// Charts as SVG, drawn here: lines by day, bars by week, two histograms side by side. Each says in words what it shows.

function svg(tag, props, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const text = (x, y, words, anchor = "start") => svg("text", { x, y, "text-anchor": anchor }, words);
const WIDTH = 760, HEIGHT = 220, LEFT = 56, BOTTOM = 26, TOP = 10;
const plot = (label, ...children) => svg("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label }, ...children);
const figure = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : Number(value.toPrecision(3)).toString());

// Mean of each day as a line, lowest to highest as bars behind it.
export function dayChart(days, label) {
  const low = Math.min(...days.map((day) => day.lowest)), high = Math.max(...days.map((day) => day.highest));
  const first = Date.parse(days[0].day), last = Date.parse(days.at(-1).day);
  const x = (day) => LEFT + (last === first ? 0.5 : (Date.parse(day) - first) / (last - first)) * (WIDTH - LEFT - 14);
  const y = (value) => TOP + (high === low ? 0.5 : (high - value) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  return plot(`${label}: ${days.length} days from ${days[0].day} to ${days.at(-1).day}, between ${figure(low)} and ${figure(high)}`,
    text(LEFT - 8, y(high) + 5, figure(high), "end"), high === low ? null : text(LEFT - 8, y(low), figure(low), "end"),
    text(LEFT, HEIGHT - 8, days[0].day), text(WIDTH - 14, HEIGHT - 8, days.at(-1).day, "end"),
    days.map((day) => svg("line", { class: "range", x1: x(day.day), x2: x(day.day), y1: y(day.lowest), y2: y(day.highest) })),
    svg("polyline", { class: "mean", points: days.map((day) => `${x(day.day).toFixed(1)},${y(day.mean).toFixed(1)}`).join(" ") }),
    days.map((day) => svg("circle", { class: "mean", cx: x(day.day), cy: y(day.mean), r: 3 }, svg("title", {}, `${day.day}: mean ${figure(day.mean)} of ${day.count}`))));
}

// The shares of the first numbers and of the latest in each bin.
export function shareChart(shift, label) {
  const top = Math.max(...shift.shares_first, ...shift.shares_latest, 0.01);
  const bins = shift.shares_first.length, step = (WIDTH - LEFT - 14) / bins;
  const bar = (kind, index, share, offset) => {
    const height = (share / top) * (HEIGHT - TOP - BOTTOM);
    return svg("rect", { class: kind, x: LEFT + index * step + offset * step, y: HEIGHT - BOTTOM - height, width: 0.4 * step, height }, svg("title", {}, `${(100 * share).toFixed(1)}%`));
  };
  return plot(`${label}: shares of the first and of the latest numbers in ${bins} bins`,
    text(LEFT - 8, TOP + 8, `${(100 * top).toFixed(0)}%`, "end"), text(LEFT - 8, HEIGHT - BOTTOM, "0", "end"),
    shift.shares_first.map((share, index) => bar("first", index, share, 0.08)),
    shift.shares_latest.map((share, index) => bar("latest", index, share, 0.52)),
    shift.edges.length + 1 === bins ? shift.edges.map((edge, index) => text(LEFT + (index + 1) * step, HEIGHT - 8, figure(edge), "middle")) : []);
}

// Accepted and rejected by week.
export function weekChart(weeks, label) {
  const names = [...new Set(weeks.map((tally) => tally.week))];
  const sums = names.map((week) => weeks.filter((tally) => tally.week === week).reduce((sum, tally) => ({ accepted: sum.accepted + tally.accepted, rejected: sum.rejected + tally.rejected }), { accepted: 0, rejected: 0 }));
  const top = Math.max(...sums.map((sum) => sum.accepted + sum.rejected), 1);
  const step = Math.min(60, (WIDTH - LEFT - 14) / names.length);
  const height = (count) => (count / top) * (HEIGHT - TOP - BOTTOM);
  return plot(`${label}: ${names.length} weeks, at most ${top} verdicts in one`,
    text(LEFT - 8, TOP + 8, String(top), "end"), text(LEFT - 8, HEIGHT - BOTTOM, "0", "end"),
    text(LEFT, HEIGHT - 8, names[0]), names.length > 1 ? text(LEFT + names.length * step, HEIGHT - 8, names.at(-1), "end") : null,
    sums.map((sum, index) => [
      svg("rect", { class: "accepted", x: LEFT + index * step + 0.1 * step, width: 0.8 * step, y: HEIGHT - BOTTOM - height(sum.accepted), height: height(sum.accepted) }, svg("title", {}, `${names[index]}: ${sum.accepted} accepted`)),
      svg("rect", { class: "rejected", x: LEFT + index * step + 0.1 * step, width: 0.8 * step, y: HEIGHT - BOTTOM - height(sum.accepted + sum.rejected), height: height(sum.rejected) }, svg("title", {}, `${names[index]}: ${sum.rejected} rejected`)),
    ]));
}
