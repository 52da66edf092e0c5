"use strict";
// Sorts tables, marks tables that are wider than the page, opens the target of a link, and unfolds sections for print.
// Text is never inserted as HTML.

// --- sorting ---------------------------------------------------------------------------------------------------

const byName = new Intl.Collator("en", { numeric: true });

// A cell that starts with a number is sorted as a number: "93.5 ± 0.5" by its mean. A dash or empty cell is unknown.
function value(row, column) {
  const text = row.cells[column].textContent.trim();
  if (text === "" || text === "–") return null;
  const number = /^-?\d+(\.\d+)?(?=$|[\s–,])/.exec(text);
  return number ? Number(number[0]) : text;
}

function sort(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const ascending = head.getAttribute("aria-sort") !== "ascending";
  const keyed = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
  keyed.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // unknown values come last, in both orders
    const difference = typeof a === "number" && typeof b === "number" ? a - b : byName.compare(String(a), String(b));
    return ascending ? difference : -difference;
  });
  table.tBodies[0].append(...keyed.map(([, row]) => row));
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, column));
    head.append(button);
  });
}

// --- tables wider than the page ---------------------------------------------------------------------------------

const sized = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const cut = target.scrollWidth > target.clientWidth + 1;
    const hint = target.previousElementSibling?.matches(".hint") ? target.previousElementSibling : null;
    if (cut && !hint) {
      const words = document.createElement("p");
      words.className = "hint";
      words.textContent = "Scroll sideways to see all columns →";
      target.before(words);
    } else if (!cut) hint?.remove();
  }
});
for (const wide of document.querySelectorAll(".wide")) sized.observe(wide);

// --- folded sections ---------------------------------------------------------------------------------------------

function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", unfold);
for (const link of document.querySelectorAll('a[href^="#"]')) link.addEventListener("click", () => setTimeout(unfold));
unfold();

let folded = [];
addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("details:not([open], .others)")];
  for (const details of folded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of folded) details.open = false;
});
