// Keys and drafts of the Judge tab. The keys do nothing while somebody writes, or on another tab.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]")) return;
  const panel = document.querySelector("#judge-panel");
  if (!panel || !panel.offsetParent) return;
  if (event.key === "c") {
    event.preventDefault();
    document.querySelector("#judge-comment textarea")?.focus();
    return;
  }
  const ids = { a: "judge-accept", r: "judge-reject", u: "judge-undo", n: "judge-next", p: "judge-previous" };
  const button = ids[event.key] && document.getElementById(ids[event.key]);
  if (button && !button.disabled) { event.preventDefault(); button.click(); }
});

// A comment that is not sent yet survives the tab: it is kept with the item that it is about.
window.treecotDrafts = {
  keep: (text, item) => { if (item) localStorage.setItem(`treecot-draft-${item}`, text); },
  find: (saved, item) => localStorage.getItem(`treecot-draft-${item}`) || saved,
  drop: (text, item) => localStorage.removeItem(`treecot-draft-${item}`),
};
