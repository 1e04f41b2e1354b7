// Parts of a bar open examples.
globalThis.treecotResults = (() => {
  function mount(element, trigger) {
    const select = treecotSelect(trigger);
    element.addEventListener("click", (event) => {
      const part = event.target.closest("[data-key]");
      if (!part) return;
      for (const other of element.querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", "false");
      part.setAttribute("aria-pressed", "true");
      select({ key: part.dataset.key });
    });
  }

  return { mount };
})();
