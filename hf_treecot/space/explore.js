// The list of problems: a click, or up and down among them, chooses.
globalThis.treecotList = (() => {
  function mount(element, trigger) {
    const select = treecotSelect(trigger);
    element.addEventListener("click", (event) => {
      const row = event.target.closest("[data-row]");
      if (!row) return;
      for (const other of element.querySelectorAll("[aria-current=true]")) other.setAttribute("aria-current", "false");
      row.setAttribute("aria-current", "true");
      select({ row: Number(row.dataset.row) });
      // On a phone the list stands above the tree.
      const tree = document.getElementById("explore-tree");
      if (tree && window.innerWidth < 720) tree.scrollIntoView({ behavior: "smooth" });
    });
    element.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const rows = [...element.querySelectorAll("[data-row]")], at = rows.indexOf(document.activeElement);
      if (!step || at < 0 || !rows[at + step]) return;
      event.preventDefault();
      rows[at + step].focus();
    });
  }

  return { mount };
})();
