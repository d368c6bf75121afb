document.querySelectorAll("table.sortable th").forEach((th, column) => {
  th.addEventListener("click", () => {
    const body = th.closest("table").tBodies[0];
    const up = th.dataset.up !== "1";
    th.dataset.up = up ? "1" : "0";
    const key = (row) => row.cells[column].textContent.trim();
    const order = (a, b) => {
      const [x, y] = [parseFloat(key(a)), parseFloat(key(b))];
      return Number.isNaN(x) || Number.isNaN(y) ? key(a).localeCompare(key(b)) : x - y;
    };
    [...body.rows].sort((a, b) => (up ? order(a, b) : order(b, a))).forEach((row) => body.append(row));
  });
});
