"use strict";
// Filters the inline answers: a wins over b, all fail, all right, or a text.
(() => {
  const rows = [...document.querySelectorAll(".row")];
  const [kind, a, b, text] = ["kind", "a", "b", "text"].map((id) => document.getElementById(id));
  const count = document.getElementById("count");
  if (!kind) return;
  const apply = () => {
    const wanted = text.value.toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const scores = JSON.parse(row.dataset.scores);
      const values = Object.values(scores);
      const keep =
        (kind.value === "differ" && Math.max(...values) > Math.min(...values)) ||
        (kind.value === "wins" && scores[a.value] > scores[b.value]) ||
        (kind.value === "fail" && Math.max(...values) === 0) ||
        kind.value === "every";
      row.hidden = !(keep && (!wanted || row.textContent.toLowerCase().includes(wanted)));
      if (!row.hidden) shown += 1;
    }
    for (const select of [a, b]) select.disabled = kind.value !== "wins";
    count.textContent = `${shown} of ${rows.length} shown here`;
  };
  for (const control of [kind, a, b, text]) control.addEventListener("input", apply);
  apply();
})();
