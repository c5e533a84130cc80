"use strict";
// What a cell is sorted by: [0, number], [1, text], or [2] where it holds nothing and so stands last either way.
const key = (cell) => {
  const text = (cell.dataset.order ?? cell.textContent).trim();
  if (["", "-", "\u2013", "\u2014", "NaN"].includes(text)) return [2];
  return Number.isNaN(Number(text)) ? [1, text] : [0, Number(text)];
};
const compared = ([kind, one], [other, two], sign) => {
  if (kind === 2 || other === 2) return kind - other;
  if (kind !== other) return sign * (kind - other);
  return sign * (kind === 1 ? one.localeCompare(two, "en", { numeric: true }) : one < two ? -1 : +(one > two));
};
// Array.sort is stable: sorting by a second column keeps the order of the first among its ties.
const sort = (table, column) => {
  const heads = [...table.tHead.rows[0].cells];
  const turned = heads[column].getAttribute("aria-sort") === "ascending";
  const keyed = [...table.tBodies[0].rows].map((row) => [key(row.cells[column]), row]);
  keyed.sort(([one], [two]) => compared(one, two, turned ? -1 : 1));
  heads.forEach((head) => head.setAttribute("aria-sort", "none"));
  heads[column].setAttribute("aria-sort", turned ? "descending" : "ascending");
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
// a folded fact would be missing on paper
addEventListener("beforeprint", () => document.querySelectorAll(".facts").forEach((facts) => (facts.open = true)));
