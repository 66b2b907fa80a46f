"use strict";

// A click on a column's head sorts by it: numbers as numbers, texts as people do, what is empty last.
function sortBy(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const ascending = heads[column].getAttribute("aria-sort") !== "ascending";
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const body = table.tBodies[0];
  const keyed = [...body.rows].map((row) => {
    const cell = row.cells[column];
    const number = cell.dataset.value === undefined ? NaN : Number(cell.dataset.value);
    return { row, number, text: cell.textContent.trim() };
  });
  const rank = (key) => (Number.isNaN(key.number) ? (key.text === "" ? 2 : 1) : 0);
  keyed.sort((a, b) => {
    if (rank(a) !== rank(b)) return rank(a) - rank(b);
    const order = rank(a) === 0 ? a.number - b.number : a.text.localeCompare(b.text, "en", { numeric: true });
    return ascending ? order : -order;
  });
  body.append(...keyed.map((key) => key.row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => sortBy(table, column));
  });
}

// All words have to occur.
const filter = document.getElementById("filter");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const each of document.querySelectorAll("[data-words]")) {
    each.hidden = !words.every((word) => each.dataset.words.includes(word));
    if (!each.hidden && each.tagName === "TR") shown += 1;
  }
  document.getElementById("shown").value = words.length ? `${shown} row${shown === 1 ? "" : "s"}` : "";
});

// A link to a run opens it.
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}
addEventListener("hashchange", openTarget);
openTarget();
