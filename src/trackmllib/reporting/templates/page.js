document.querySelectorAll("table.sortable").forEach(function (table) {
  var heads = Array.from(table.tHead.rows[0].cells);
  var body = table.tBodies[0];
  function value(row, column) {
    var cell = row.cells[column];
    var text = cell.hasAttribute("data-v") ? cell.getAttribute("data-v") : cell.firstChild ? cell.firstChild.textContent : "";
    var number = text.trim() === "" ? NaN : Number(text);
    return isNaN(number) ? text : number;
  }
  heads.forEach(function (head, column) {
    head.firstElementChild.addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
      var rows = Array.from(body.rows).map(function (row) { return [value(row, column), row]; });
      rows.sort(function (a, b) {
        // Rows without a value stay at the end in both directions.
        if (a[0] === "" || b[0] === "") { return (a[0] === "") - (b[0] === ""); }
        if (typeof a[0] !== typeof b[0]) { return typeof a[0] === "number" ? -1 : 1; }
        return down * (typeof a[0] === "number" ? a[0] - b[0] : a[0].localeCompare(b[0]));
      });
      rows.forEach(function (pair) { body.appendChild(pair[1]); });
    });
  });
});
// The MLflow UI shows the page in a sandboxed frame, in which links do nothing.
if (window.origin === "null" && window.parent !== window) {
  document.querySelectorAll("a[target]").forEach(function (link) {
    var note = document.getElementById("pane");
    note.hidden = false;
    link.addEventListener("click", function () {
      note.lastElementChild.textContent = link.href;
      note.scrollIntoView({ block: "nearest" });
    });
  });
}
