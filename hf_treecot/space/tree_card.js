// One thought as a card: its kind by colour, shape and word, its text, visits as weight, mean reward as a bar.
globalThis.treecotCard = (() => {
  // A search without a gold answer knows only how many of its answers agree.
  function outcome(view, i) {
    const { reward, dead, votes } = view.tree;
    if (reward[i] === null || !view.visits[i]) return dead[i] ? "dead end" : "";
    const right = reward[i] > 0.5;
    return votes ? (right ? "most answers agree" : "few answers agree") : right ? "right" : "wrong";
  }

  function make(view, i, element) {
    const { kind, reward, critic, dead, label } = view.tree, at = view.cardsAt;
    const visits = view.visits[i], value = visits ? view.values[i] / visits : 0, result = outcome(view, i);
    const verified = reward[i] !== null && visits > 0, right = verified && reward[i] > 0.5;
    const name = kind[i].replaceAll("_", "-"), marked = view.marked();
    const classes = ["card", `kind-${kind[i]}`, verified ? (right ? "right" : "wrong") : "", visits ? "" : "unvisited",
      i === view.chosen ? "chosen" : "", view.path.has(i) ? "on-path" : "",
      marked.chosen.has(i) ? "of-chosen" : marked.rejected.has(i) ? "of-rejected" : ""];
    const card = element("div", {
      id: `${view.id}-${i}`, "data-node": i, role: "treeitem", "aria-level": view.depth[i] + 1,
      class: classes.filter(Boolean).join(" "), "aria-selected": i === view.chosen,
      "aria-label": `${name}${critic[i] ? " by the critic" : ""}, ${visits} visits, value ${value.toFixed(2)}` +
        `${result && `, ${result}`}: ${label[i]}`,
    }, view.world);
    card.style.transform = `translate(${at.x[i]}px, ${at.y[i]}px)`;
    card.style.width = `${at.card.width}px`;
    card.style.height = `${at.card.height}px`;
    card.style.setProperty("--weight", `${1 + 3 * Math.sqrt(visits / Math.max(1, view.visits[0]))}px`);
    const head = element("div", { class: "card-head" }, card);
    element("span", { class: "shape" }, head);
    element("span", { class: "card-kind" }, head, name);
    if (critic[i]) element("span", { class: "card-critic", title: "written by the critic" }, head, "critic");
    if (result) element("span", { class: "card-mark" }, head, verified ? (right ? "✓" : "✗") : "∅");
    element("span", { class: "card-visits", title: `${visits} visits` }, head, `×${visits}`);
    element("div", { class: "card-text" }, card, label[i]);
    const bar = element("div", { class: "card-value", title: `mean reward ${value.toFixed(2)}` }, card);
    element("span", {}, bar).style.width = visits ? `${Math.round(100 * value)}%` : "0";
    bar.classList.toggle("none", !visits);
    if (view.children[i].length) fold(view, i, card, element);
    return card;
  }

  function fold(view, i, card, element) {
    const folded = view.folded.has(i);
    card.setAttribute("aria-expanded", !folded);
    const hidden = view.below[i];
    element("span", {
      class: "card-fold", title: folded ? `show what follows: ${hidden} thoughts` : "fold what follows",
    }, card, folded ? `+${hidden}` : "−");
  }

  return { make, outcome };
})();
