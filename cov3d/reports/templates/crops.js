"use strict";
// Sorting, filtering, enlarging, and the line of overrides.csv for a scan. Text only ever goes in as text.

const find = (selector, within = document) => within.querySelector(selector);
const body = find("tbody");
const rows = [...body.rows];
const heads = [...document.querySelectorAll("th[data-column]")];

// --- pictures --------------------------------------------------------------------------------------------------

const previews = new Map(
  [...document.querySelectorAll("script.preview")].map((script) => [script.dataset.scan, script]),
);
const source = (row) =>
  previews.has(row.dataset.scan) ? `data:image/webp;base64,${previews.get(row.dataset.scan).textContent}` : null;

function showPicture(row) {
  const picture = find("img", row);
  if (picture && !picture.src) picture.src = source(row);
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
  const text = row.cells[1 + heads.findIndex((head) => head.dataset.column === column)].textContent;
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function sort(column, ascending) {
  order = { column, ascending };
  const keyed = rows.map((row) => [value(row, column), row]);
  const turn = ascending ? 1 : -1;
  keyed.sort(([a, first], [b, second]) => {
    if ((a === "") !== (b === "")) return a === "" ? 1 : -1; // what is unknown comes last, either way
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
}

const firstWay = (column) => column !== "doubts"; // the most doubtful first, all else from the least
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

const numbers = (text) => text.split(" ").map(Number);
const csv = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const lineOf = (row, box) => [csv(row.dataset.scan), ...box].join(",");
const boxNow = () => inputs.map((input) => (/^\d+$/.test(input.value) ? Number(input.value) : NaN));
// A plane in the picture, as the report wrote it: the axis it is cut across, those of its rows and columns, its place.
const planes = () =>
  JSON.parse(current.dataset.panels).map(([across, rows, columns, left, top, width, height]) => ({
    across, rows, columns, left, top, width, height,
  }));

function open(row) {
  current = row;
  const shape = numbers(row.dataset.shape);
  find("h2", dialog).textContent = row.dataset.scan;
  find(".why", dialog).textContent = [...row.querySelectorAll(".doubts li, .note")].map((e) => e.textContent).join("; ");
  const large = find("img", canvas);
  if (previews.has(row.dataset.scan)) large.src = source(row);
  else large.removeAttribute("src");
  large.alt = `crop of ${row.dataset.scan}`;
  inputs.forEach((input, index) => (input.max = shape[index >> 1]));
  dialog.querySelectorAll(".pair small").forEach((note, axis) => (note.textContent = `of ${shape[axis]}`));
  fill(kept.has(row.dataset.scan) ? kept.get(row.dataset.scan) : numbers(row.dataset.box));
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

// What is wrong with a box, or nothing.
function wrong(box) {
  const shape = numbers(current.dataset.shape);
  for (const [axis, name] of AXES.entries()) {
    const [first, last] = box.slice(2 * axis, 2 * axis + 2);
    if (Number.isNaN(first) || Number.isNaN(last)) return `${name}0 and ${name}1 must be whole numbers`;
    if (first >= last) return `${name}0 must be less than ${name}1`;
    if (last > shape[axis]) return `${name}1 must be at most ${shape[axis]}`;
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
  find(".keep", dialog).textContent = "keep for overrides.csv";
  find(".drop", dialog).hidden = !kept.has(current.dataset.scan);
  find(".reset", dialog).disabled = !changed;
  const svg = find("svg", canvas);
  svg.replaceChildren();
  if (problem || !changed) return;
  const shape = numbers(current.dataset.shape);
  for (const plane of planes()) {
    for (const under of [true, false]) {
      const frame = document.createElementNS("http://www.w3.org/2000/svg", "rect");
      const across = plane.width / shape[plane.columns];
      const down = plane.height / shape[plane.rows];
      const [top, bottom] = box.slice(2 * plane.rows, 2 * plane.rows + 2);
      const [left, right] = box.slice(2 * plane.columns, 2 * plane.columns + 2);
      frame.setAttribute("x", plane.left + left * across);
      frame.setAttribute("y", plane.top + top * down);
      frame.setAttribute("width", (right - left) * across);
      frame.setAttribute("height", (bottom - top) * down);
      if (under) frame.classList.add("under");
      svg.append(frame);
    }
  }
}

inputs.forEach((input) => input.addEventListener("input", show));
find(".reset", dialog).addEventListener("click", () => fill(numbers(current.dataset.box)));
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

// The place under the pointer, in voxels along the rows and columns of a plane; not beyond it.
function place(event, plane) {
  const shape = numbers(current.dataset.shape);
  const frame = canvas.getBoundingClientRect();
  const [width, height] = find("svg", canvas).getAttribute("viewBox").split(" ").slice(2).map(Number);
  const x = ((event.clientX - frame.left) / frame.width) * width;
  const y = ((event.clientY - frame.top) / frame.height) * height;
  const along = (at, start, pixels, size) => Math.min(Math.max(((at - start) / pixels) * size, 0), size);
  return [
    along(y, plane.top, plane.height, shape[plane.rows]),
    along(x, plane.left, plane.width, shape[plane.columns]),
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
    box[2 * axis] = Math.floor(ends[0]);
    box[2 * axis + 1] = Math.ceil(ends[1]);
  }
  fill(box);
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (drag = null));

// --- overrides.csv ---------------------------------------------------------------------------------------------

// Boxes by scan: those in force when the report was made, and those kept here.
const kept = new Map(rows.filter((row) => "settled" in row.dataset).map((row) => [row.dataset.scan, numbers(row.dataset.box)]));
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
    document.execCommand("copy"); // where a page opened from disk may not use the clipboard
  }
  event.target.textContent = "copied";
});
find(".keep", dialog).addEventListener("click", (event) => {
  kept.set(current.dataset.scan, boxNow());
  changeKept();
  show();
  event.target.textContent = "kept";
});
find(".drop", dialog).addEventListener("click", () => {
  kept.delete(current.dataset.scan);
  changeKept();
  fill(numbers(current.dataset.box));
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
