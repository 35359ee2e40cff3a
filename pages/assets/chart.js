// What script adds to charts: the arrow keys move between their points, and the point that is focused or pointed at shows its
// figures. All of them are in the page already, in labels and in the table behind each chart.

const known = new WeakSet();

// Also a tip of the pointer goes by Escape, wherever the focus is.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const tip of document.querySelectorAll(".chart-tip")) tip.hidden = true;
});

/** Takes care of every chart below `root`; of those that it has met before, nothing changes. */
export function charts(root = document) {
  for (const plot of root.querySelectorAll("svg[data-points]")) {
    if (known.has(plot)) continue;
    known.add(plot);
    care(plot);
  }
}

function care(plot) {
  const points = [...plot.querySelectorAll("[data-point]")];
  if (points.length === 0) return;
  const body = plot.parentElement;
  const tip = tipIn(body);
  const show = (point) => fill(tip, plot, points.indexOf(point)) && place(tip, point, body);
  const hide = () => (tip.hidden = true);
  const focused = () => points.find((point) => point === document.activeElement);

  // The browser's own words for the same would come on top of ours; the labels stay for screen readers.
  for (const point of points) point.querySelector("title")?.remove();
  plot.setAttribute("aria-description", "The arrow keys move between its parts.");

  // On the element around the drawing: one of SVG that listens for the focus would be given it.
  body.addEventListener("focusin", (event) => {
    const point = event.target.closest("[data-point]");
    if (!point) return;
    for (const each of points) each.setAttribute("tabindex", each === point ? "0" : "-1");
    show(point);
  });
  body.addEventListener("focusout", hide);
  plot.addEventListener("pointerover", (event) => {
    const point = event.target.closest("[data-point]");
    if (point) show(point);
  });
  // The tip is inside, so a pointer may rest on it.
  body.addEventListener("pointerleave", () => (focused() ? show(focused()) : hide()));
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !tip.hidden) {
      // Only the tip goes: a dialog around it stays.
      event.preventDefault();
      event.stopPropagation();
      return hide();
    }
    const next = moved(event, points.indexOf(event.target), points.length);
    if (next === undefined) return;
    event.preventDefault();
    points[next].focus();
  });
}

/** Where a key leads from a point, or nothing where it is none of ours. */
function moved(event, from, many) {
  if (from < 0 || event.altKey || event.ctrlKey || event.metaKey) return undefined;
  const within = (at) => Math.max(0, Math.min(many - 1, at));
  switch (event.key) {
    case "ArrowLeft": return within(from - 1);
    case "ArrowRight": return within(from + 1);
    case "PageUp": return within(from - 7);
    case "PageDown": return within(from + 7);
    case "Home": return 0;
    case "End": return many - 1;
    default: return undefined;
  }
}

function tipIn(body) {
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  body.append(tip);
  return tip;
}

/** Writes the row of the table that belongs to a point into the tip. */
function fill(tip, plot, at) {
  const figure = plot.closest("figure");
  const row = figure.querySelectorAll(".chart-table tbody tr")[at];
  if (!row) return false;
  const headings = [...figure.querySelectorAll(".chart-table thead th")].slice(1).map((heading) => heading.textContent);
  const swatches = [...figure.querySelectorAll(".chart-legend .swatch")];
  const cells = [...row.querySelectorAll("td")].map((cell) => cell.textContent);
  const isStacked = headings.length > 1 && headings.at(-1) === "Total";
  const list = document.createElement("dl");
  for (const [index, cell] of cells.entries()) {
    const isSum = isStacked && index === cells.length - 1;
    // Of many groups only those that were there; their sum always.
    if (isStacked && !isSum && /^0( bytes)?$/.test(cell)) continue;
    list.append(...line(headings[index], cell, isStacked && !isSum ? swatches[index] : undefined, isSum));
  }
  const name = document.createElement("strong");
  name.textContent = row.querySelector("th").textContent;
  tip.replaceChildren(name, list);
  return true;
}

function line(name, value, swatch, isSum) {
  const term = document.createElement("dt");
  if (swatch) term.append(swatch.cloneNode(true));
  term.append(name);
  const figure = document.createElement("dd");
  figure.textContent = value;
  if (isSum) for (const part of [term, figure]) part.className = "is-sum";
  return [term, figure];
}

/** Puts the tip above the drawing, over its point, and within it; below where the window has no room above. */
function place(tip, point, body) {
  tip.hidden = false;
  tip.classList.remove("is-below");
  tip.classList.toggle("is-below", tip.getBoundingClientRect().top < 0);
  const around = body.getBoundingClientRect();
  const hit = point.querySelector(".hit").getBoundingClientRect();
  const left = hit.left + hit.width / 2 - around.left - tip.offsetWidth / 2;
  tip.style.left = `${Math.round(Math.max(0, Math.min(around.width - tip.offsetWidth, left)))}px`;
}
