"use strict";
// What a table's cells show, how its rows are sorted, and how they are copied.
const tables = (() => {
  const shown = (value) =>
    typeof value !== "number" ? String(value ?? "")
      : (Number.isInteger(value) ? value.toLocaleString("en-US") : value.toFixed(4)).replace("-", "\u2212");

  const before = (a, b) => {
    if (a === b) return 0;
    if (a === "" || a === null) return 1;
    if (b === "" || b === null) return -1;
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };

  function csv(rows) {
    const cell = (value) => {
      let text = String(value ?? "");
      // A spreadsheet would run a text that begins like a formula; numbers stay numbers.
      if (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text))) text = `'${text}`;
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  async function copy(text, from) {
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Pages that are opened from a file may have no clipboard.
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      if (!document.execCommand("copy")) done = "Not copied";
      area.remove();
    }
    const words = from.dataset.words ?? (from.dataset.words = from.textContent);
    from.textContent = done;
    setTimeout(() => { from.textContent = words; }, 1500);
  }

  function valueOf(cell) {
    const text = cell.dataset.value ?? cell.textContent;
    return cell.classList.contains("number") && text !== "" ? Number(text) : text;
  }

  // Each click turns the order; a new column begins with the greatest numbers, or with A.
  function turned(heading, isNumber) {
    const now = heading.getAttribute("aria-sort");
    const next = now === "descending" ? "ascending" : now === "ascending" ? "descending"
      : isNumber ? "descending" : "ascending";
    heading.parentElement.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", next);
    return next === "ascending" ? 1 : -1;
  }

  function sortTable(heading) {
    const body = heading.closest("table").querySelector("tbody");
    const at = heading.cellIndex;
    const rows = [...body.rows];
    const sign = turned(heading, rows.some((row) => row.cells[at].classList.contains("number")));
    const keyed = rows.map((row) => [valueOf(row.cells[at]), row]);
    keyed.sort((a, b) => (a[0] === "" || b[0] === "" ? before(a[0], b[0]) : sign * before(a[0], b[0])));
    body.append(...keyed.map(([, row]) => row));
  }

  function tableRows(table) {
    return [...table.rows].map((row) => [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent.trim()));
  }

  return { shown, before, csv, copy, turned, sortTable, tableRows };
})();
