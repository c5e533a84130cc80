"use strict";
// The sort key of a cell: [0, number], [1, text], or [2] for an empty cell, which is last in both directions.
const key = (cell) => {
  const text = (cell.dataset.order ?? cell.textContent).trim();
  if (["", "-", "\u2013", "\u2014", "NaN"].includes(text)) return [2];
  return Number.isNaN(Number(text)) ? [1, text] : [0, Number(text)];
};
const compare = ([kind, one], [other, two], sign) => {
  if (kind === 2 || other === 2) return kind - other;
  if (kind !== other) return sign * (kind - other);
  return sign * (kind === 1 ? one.localeCompare(two, "en", { numeric: true }) : one < two ? -1 : +(one > two));
};
// Array.sort is stable: ties keep the order of the previous sort.
const sort = (table, column) => {
  const heads = [...table.tHead.rows[0].cells];
  const descending = heads[column].getAttribute("aria-sort") === "ascending";
  const keyed = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
  keyed.sort(([one], [two]) => compare(one, two, descending ? -1 : 1));
  heads.forEach((head) => head.setAttribute("aria-sort", "none"));
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  table.tBodies[0].append(...keyed.map(([, row]) => row));
};
for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, column));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  });
}
addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll("details.zoom").forEach((zoom) => (zoom.open = false));
});
// closed details would be missing in print
addEventListener("beforeprint", () => document.querySelectorAll(".facts").forEach((facts) => (facts.open = true)));
