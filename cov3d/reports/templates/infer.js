"use strict";
// Sorts, filters and enlarges. Text is never inserted as HTML.

const find = (selector, within = document) => within.querySelector(selector);
const body = find("tbody");
const rows = [...body.rows];

// --- pictures --------------------------------------------------------------------------------------------------

const stored = new Map(
  [...document.querySelectorAll("script.picture-data")].map((script) => [
    `${script.dataset.kind} ${script.dataset.scan}`,
    script,
  ]),
);

function source(row, kind) {
  const script = stored.get(`${kind} ${row.dataset.scan}`);
  return script ? `data:image/webp;base64,${script.textContent}` : null;
}

function put(image, url) {
  if (url) image.src = url;
  else image.removeAttribute("src");
}

const SVG = "http://www.w3.org/2000/svg";

function marks() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "over");
  svg.setAttribute("viewBox", find("#marks").getAttribute("viewBox"));
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", "#marks");
  svg.append(use);
  return svg;
}

function showPicture(row) {
  const picture = find("img", row);
  if (picture.src) return;
  const url = source(row, "preview");
  if (!url) return;
  picture.src = url;
  picture.after(marks());
}

const inSight = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      inSight.unobserve(entry.target);
      showPicture(entry.target);
    }
  },
  { rootMargin: "800px" },
);
rows.forEach((row) => inSight.observe(row));
addEventListener("beforeprint", () => rows.filter((row) => !row.hidden).forEach(showPicture));

// --- sorting and filtering -------------------------------------------------------------------------------------

const byName = new Intl.Collator("en", { numeric: true });
const number = (row, name) => Number(row.dataset[name] || 0);
const keys = {
  review: (row) => (number(row, "review") > 0 ? 1 : 0),
  probability: (row) => number(row, "probability"),
  spread: (row) => number(row, "spread"),
};

find("#sort").addEventListener("change", (event) => {
  const key = keys[event.target.value];
  rows.sort((a, b) => (key ? key(b) - key(a) || keys.probability(b) - keys.probability(a) : 0) || byName.compare(a.dataset.scan, b.dataset.scan));
  body.append(...rows);
});

const wanted = {
  "": () => true,
  review: (row) => number(row, "review") > 0,
  positive: (row) => row.dataset.positive === "1",
  negative: (row) => row.dataset.positive === "0",
};

function filter() {
  const name = find("#name").value.trim().toLowerCase();
  const only = wanted[find("#only").value];
  let shown = 0;
  for (const row of rows) {
    row.hidden = !row.dataset.scan.toLowerCase().includes(name) || !only(row);
    shown += !row.hidden;
  }
  find("#shown").textContent = `${shown} of ${rows.length} shown`;
}

find("#name").addEventListener("input", filter);
find("#only").addEventListener("change", filter);
find("#tools").addEventListener("submit", (event) => event.preventDefault());
filter();

// --- one scan, large -------------------------------------------------------------------------------------------

const dialog = find("#large");
document.querySelectorAll("dialog .canvas svg").forEach((svg) => svg.replaceWith(marks()));
let current = null;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A bar from `zero` to `value`, both as shares of the track.
function bar(name, text, zero, value, kind) {
  const line = element("div", "bar");
  const track = element("span", "track");
  const fill = element("span", `fill ${kind}`);
  fill.style.left = `${100 * Math.min(zero, value)}%`;
  fill.style.width = `${100 * Math.abs(value - zero)}%`;
  track.append(fill);
  line.append(element("span", "", name), track, element("span", "value", text));
  return line;
}

function showBars(details) {
  const categories = Object.entries(details.categories);
  find(".categories", dialog).replaceChildren(...categories.map(([name, p]) => bar(name, p.toFixed(3), 0, p, "")));
  const zones = Object.entries(details.zones);
  find(".zones", dialog).hidden = zones.length === 0;
  const most = Math.max(0.1, ...zones.map(([, effect]) => Math.abs(effect)));
  const parts = zones.map(([name, effect]) =>
    bar(name, (effect > 0 ? "+" : "") + effect.toFixed(2), 0.5, 0.5 + effect / (2 * most), effect > 0 ? "for" : "against"),
  );
  find(".parts", dialog).replaceChildren(...parts);
  const facts = Object.entries(details.intake).map(([name, text]) => {
    const line = element("div");
    line.append(element("dt", "", name), element("dd", "", text));
    return line;
  });
  find(".numbers", dialog).replaceChildren(...facts);
}

function showMap() {
  put(find(".overlay", dialog), source(current, find("#which").value));
  find(".overlay", dialog).style.opacity = find("#opacity").value / 100;
}

function open(row) {
  current = row;
  find("h2", dialog).textContent = row.dataset.scan;
  find(".verdict", dialog).textContent = [...row.querySelectorAll(".call, .probability, .severity")].map((e) => e.textContent.trim()).join(", ");
  const reasons = [...row.querySelectorAll(".reasons li")].map((reason) => element("li", "", reason.textContent));
  find(".why", dialog).replaceChildren(...reasons);
  const preview = source(row, "preview");
  put(find(".preview", dialog), preview);
  find(".preview", dialog).alt = `${row.dataset.scan} in three planes`;
  const crop = source(row, "crop");
  find(".map", dialog).hidden = !crop;
  put(find(".crop", dialog), crop);
  find(".crop", dialog).alt = `crop of ${row.dataset.scan}`;
  find(".controls", dialog).hidden = !source(row, "presence");
  showMap();
  showBars(JSON.parse(row.dataset.details));
  const [before, after] = neighbours();
  find(".before", dialog).disabled = !before;
  find(".after", dialog).disabled = !after;
  if (!dialog.open) dialog.showModal();
}

function neighbours() {
  const visible = rows.filter((row) => !row.hidden);
  const place = visible.indexOf(current);
  return [visible[place - 1], visible[place + 1]];
}

body.addEventListener("click", (event) => {
  if (event.target.closest(".picture")) open(event.target.closest("tr"));
});
find("#which").addEventListener("change", showMap);
find("#opacity").addEventListener("input", showMap);
const walk = (step) => {
  const row = neighbours()[step];
  if (row) open(row);
};
find(".before", dialog).addEventListener("click", () => walk(0));
find(".after", dialog).addEventListener("click", () => walk(1));
dialog.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select")) return;
  if (event.key === "ArrowLeft") walk(0);
  if (event.key === "ArrowRight") walk(1);
});
