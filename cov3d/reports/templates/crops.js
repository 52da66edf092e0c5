"use strict";
// Sorts, filters and enlarges, and makes a scan's line of overrides.csv. Text is never inserted as HTML.

const find = (selector, within = document) => within.querySelector(selector);
const body = find("tbody");
const rows = [...body.rows];
const heads = [...document.querySelectorAll("th[data-column]")];
const columns = [...document.querySelectorAll(".numbers dd")].map((cell) => cell.dataset.column);
const numbersOf = (row) => JSON.parse(row.dataset.numbers); // as text, in the order of the columns

// --- pictures --------------------------------------------------------------------------------------------------

const previews = new Map(
  [...document.querySelectorAll("script.preview")].map((script) => [script.dataset.scan, script]),
);
const source = (row) =>
  previews.has(row.dataset.scan) ? `data:image/webp;base64,${previews.get(row.dataset.scan).textContent}` : null;

function showPicture(row) {
  const picture = find("img", row);
  if (!picture || picture.src) return;
  picture.src = source(row);
  picture.after(overlay(row));
}

const SVG = "http://www.w3.org/2000/svg";
const VIEW = find("#marks").getAttribute("viewBox");
const axisNumbers = (text) => text.split(" ").map(Number);

// The planes in the picture, from the report: axis perpendicular to the plane, axes of its rows and columns, position.
const planesOf = (row) =>
  JSON.parse(row.dataset.panels).map(([across, rows, columns, left, top, width, height]) => ({
    across, rows, columns, left, top, width, height,
  }));

function shape(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// The frames of a box in the three planes, with the lines inside the box; `kinds` are classes of lines, drawn in order.
function frames(row, box, kinds) {
  const size = axisNumbers(row.dataset.shape);
  return planesOf(row).flatMap((plane) => {
    const [x, y, right, bottom] = [
      plane.left + (box[2 * plane.columns] * plane.width) / size[plane.columns],
      plane.top + (box[2 * plane.rows] * plane.height) / size[plane.rows],
      plane.left + (box[2 * plane.columns + 1] * plane.width) / size[plane.columns],
      plane.top + (box[2 * plane.rows + 1] * plane.height) / size[plane.rows],
    ];
    const place = { x: x + 1, y: y + 1, width: Math.max(right - x - 2, 0), height: Math.max(bottom - y - 2, 0) };
    return kinds.map((kind) => shape("rect", { ...place, class: kind }));
  });
}

// The crop box and the letters for the directions over a picture, sharp at any size.
function overlay(row) {
  const svg = shape("svg", { viewBox: VIEW, class: "over", "aria-hidden": "true" });
  svg.append(...frames(row, axisNumbers(row.dataset.box), ["box"]), shape("use", { href: "#marks" }));
  return svg;
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

// --- sorting ---------------------------------------------------------------------------------------------------

const byName = new Intl.Collator("en", { numeric: true });
let order = { column: "doubts", ascending: false };

function value(row, column) {
  if (column === "doubts") return Number(row.dataset.score);
  if (column === "scan") return row.dataset.scan;
  const text = numbersOf(row)[columns.indexOf(column)];
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function sort(column, ascending) {
  order = { column, ascending };
  const keyed = rows.map((row) => [value(row, column), row]);
  const turn = ascending ? 1 : -1;
  keyed.sort(([a, first], [b, second]) => {
    if ((a === "") !== (b === "")) return a === "" ? 1 : -1; // unknown values come last, in both orders
    const difference = typeof a === "number" && typeof b === "number" ? a - b : byName.compare(a, b);
    return turn * difference || byName.compare(first.dataset.scan, second.dataset.scan);
  });
  rows.splice(0, rows.length, ...keyed.map(([, row]) => row));
  body.append(...rows);
  for (const head of heads) {
    if (head.dataset.column === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  }
  find("#sort").value = column;
  rows.forEach((row) => showSorted(row, column));
}

// Shows the number by which the rows are sorted, below the name.
function showSorted(row, column) {
  find(".sorted", row)?.remove();
  const place = columns.indexOf(column);
  if (place < 0) return;
  const text = document.createElement("span");
  text.className = "sorted";
  text.textContent = `${find(`#sort option[value="${column}"]`).textContent}: ${numbersOf(row)[place] || "unknown"}`;
  find("td.scan", row).append(text);
}

const firstWay = (column) => column !== "doubts"; // the most doubtful first; other columns in ascending order
for (const head of heads) {
  const column = head.dataset.column;
  find("button", head).addEventListener("click", () =>
    sort(column, order.column === column ? !order.ascending : firstWay(column)),
  );
}
find("#sort").addEventListener("change", (event) => sort(event.target.value, firstWay(event.target.value)));
find("#turn").addEventListener("click", () => sort(order.column, !order.ascending));

// --- filtering -------------------------------------------------------------------------------------------------

function filter() {
  const wanted = find("#name").value.trim().toLowerCase();
  const onlyDoubtful = find("#doubtful").checked;
  let shown = 0;
  for (const row of rows) {
    row.hidden =
      !row.dataset.scan.toLowerCase().includes(wanted) || (onlyDoubtful && Number(row.dataset.score) === 0);
    shown += !row.hidden;
  }
  find("#shown").textContent = `${shown} of ${rows.length} shown`;
}

find("#name").addEventListener("input", filter);
find("#doubtful").addEventListener("change", filter);
find("#tools").addEventListener("submit", (event) => event.preventDefault());
filter();

// --- one scan, large -------------------------------------------------------------------------------------------

const AXES = ["z", "y", "x"];
const dialog = find("#large");
const canvas = find(".canvas", dialog);
const inputs = AXES.flatMap((axis) => [find(`[name=${axis}0]`, dialog), find(`[name=${axis}1]`, dialog)]);
const line = find(".line input", dialog);
let current = null; // the row that is shown large

const csv = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const lineOf = (row, box) => [csv(row.dataset.scan), ...box].join(",");
const boxNow = () => inputs.map((input) => (/^\d+$/.test(input.value) ? Number(input.value) : NaN));
const planes = () => planesOf(current);

function open(row) {
  current = row;
  const size = axisNumbers(row.dataset.shape);
  find("h2", dialog).textContent = row.dataset.scan;
  find(".why", dialog).textContent = [...row.querySelectorAll(".doubts li, .note")].map((e) => e.textContent).join("; ");
  const large = find("img", canvas);
  if (previews.has(row.dataset.scan)) large.src = source(row);
  else large.removeAttribute("src");
  large.alt = `crop of ${row.dataset.scan}`;
  inputs.forEach((input, index) => (input.max = size[index >> 1]));
  dialog.querySelectorAll(".pair small").forEach((note, axis) => (note.textContent = `of ${size[axis]}`));
  const values = numbersOf(row);
  dialog.querySelectorAll(".numbers dd").forEach((cell, place) => (cell.textContent = values[place] || "unknown"));
  fill(kept.has(row.dataset.scan) ? kept.get(row.dataset.scan) : axisNumbers(row.dataset.box));
  const [before, after] = neighbours();
  find(".before", dialog).disabled = !before;
  find(".after", dialog).disabled = !after;
  if (!dialog.open) dialog.showModal();
}

function neighbours() {
  const visible = rows.filter((row) => !row.hidden);
  const place = visible.indexOf(current);
  return [visible[place - 1], place < 0 ? visible[0] : visible[place + 1]];
}

function walk(step) {
  const row = neighbours()[step < 0 ? 0 : 1];
  if (row) open(row);
}

function fill(box) {
  inputs.forEach((input, index) => (input.value = box[index]));
  show();
}

// The problem with a box, or an empty text.
function wrong(box) {
  const size = axisNumbers(current.dataset.shape);
  for (const [axis, name] of AXES.entries()) {
    const [first, last] = box.slice(2 * axis, 2 * axis + 2);
    if (Number.isNaN(first) || Number.isNaN(last)) return `${name}0 and ${name}1 must be whole numbers`;
    if (first >= last) return `${name}0 must be less than ${name}1`;
    if (last > size[axis]) return `${name}1 must be at most ${size[axis]}`;
  }
  return "";
}

function show() {
  const box = boxNow();
  const problem = wrong(box);
  const changed = box.join(" ") !== current.dataset.box;
  line.value = problem || lineOf(current, box);
  for (const name of ["copy", "keep"]) find(`.line .${name}`, dialog).disabled = problem !== "";
  find(".copy", dialog).textContent = "copy line";
  find(".keep", dialog).textContent = "add to overrides.csv";
  find(".drop", dialog).hidden = !kept.has(current.dataset.scan);
  find(".reset", dialog).disabled = !changed;
  const drawn = overlay(current);
  if (!problem && changed) drawn.append(...frames(current, box, ["under", "changed"]));
  find("svg", canvas).replaceWith(drawn);
}

inputs.forEach((input) => input.addEventListener("input", show));
find(".reset", dialog).addEventListener("click", () => fill(axisNumbers(current.dataset.box)));
find(".before", dialog).addEventListener("click", () => walk(-1));
find(".after", dialog).addEventListener("click", () => walk(1));
dialog.addEventListener("keydown", (event) => {
  if (event.target.tagName === "INPUT") return; // there the arrows move the cursor
  if (event.key === "ArrowLeft") walk(-1);
  if (event.key === "ArrowRight") walk(1);
});
dialog.addEventListener("click", (event) => {
  if (event.target === dialog && !drag) dialog.close(); // beside the picture
});
body.addEventListener("click", (event) => {
  if (event.target.closest(".picture")) open(event.target.closest("tr"));
});

// --- a box drawn over a plane ----------------------------------------------------------------------------------

let drag = null;

// The position under the pointer, in voxels along the rows and columns of a plane, clipped to the plane.
function place(event, plane) {
  const size = axisNumbers(current.dataset.shape);
  const frame = canvas.getBoundingClientRect();
  const [width, height] = VIEW.split(" ").slice(2).map(Number);
  const x = ((event.clientX - frame.left) / frame.width) * width;
  const y = ((event.clientY - frame.top) / frame.height) * height;
  const along = (at, start, pixels, voxels) => Math.min(Math.max(((at - start) / pixels) * voxels, 0), voxels);
  return [
    along(y, plane.top, plane.height, size[plane.rows]),
    along(x, plane.left, plane.width, size[plane.columns]),
    x >= plane.left && x < plane.left + plane.width && y >= plane.top && y < plane.top + plane.height,
  ];
}

canvas.addEventListener("pointerdown", (event) => {
  const plane = planes().find((candidate) => place(event, candidate)[2]);
  if (!plane) return;
  drag = { plane, from: place(event, plane) };
  canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const to = place(event, drag.plane);
  const box = boxNow();
  for (const [index, axis] of [drag.plane.rows, drag.plane.columns].entries()) {
    const ends = [drag.from[index], to[index]].sort((a, b) => a - b);
    if (ends[1] - ends[0] < 1) return; // a click, not a box
    // A position on an edge between voxels must not include the next voxel because of rounding.
    box[2 * axis] = Math.floor(ends[0] + 0.001);
    box[2 * axis + 1] = Math.ceil(ends[1] - 0.001);
  }
  fill(box);
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drag = null));

// --- overrides.csv ---------------------------------------------------------------------------------------------

// Boxes by scan: those used when the report was made, and those added on this page.
const kept = new Map(rows.filter((row) => "settled" in row.dataset).map((row) => [row.dataset.scan, axisNumbers(row.dataset.box)]));
let unsaved = false;

function changeKept() {
  unsaved = true;
  const save = find("#save");
  save.hidden = false;
  save.textContent = `Save overrides.csv (${kept.size} ${kept.size === 1 ? "scan" : "scans"})`;
}

find(".copy", dialog).addEventListener("click", async (event) => {
  line.select();
  try {
    await navigator.clipboard.writeText(line.value);
  } catch {
    document.execCommand("copy"); // for browsers in which a page opened from disk may not use the clipboard
  }
  event.target.textContent = "copied";
});
find(".keep", dialog).addEventListener("click", (event) => {
  kept.set(current.dataset.scan, boxNow());
  changeKept();
  show();
  event.target.textContent = "added";
});
find(".drop", dialog).addEventListener("click", () => {
  kept.delete(current.dataset.scan);
  changeKept();
  fill(axisNumbers(current.dataset.box));
});
find("#save").addEventListener("click", () => {
  const lines = [...kept].sort(([a], [b]) => (a < b ? -1 : 1)).map(([scan, box]) => [csv(scan), ...box].join(","));
  const text = [find(".hint code").textContent, ...lines, ""].join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "overrides.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  unsaved = false;
});
addEventListener("beforeunload", (event) => {
  if (unsaved) event.preventDefault();
});
