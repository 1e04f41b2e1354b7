// The buttons above a tree: play, step, fold, zoom; and a sentence that says where one is.
globalThis.treecotBar = (() => {
  const SPEEDS = [0.5, 1, 2, 4];

  function make(view, bar, create) {
    const button = (label, text, act) => {
      const made = create("button", { type: "button", "aria-label": label, title: label }, bar, text);
      made.addEventListener("click", act);
      return made;
    };
    const parts = {};
    parts.play = button("Play", "▶", () => (view.timer ? view.pause() : view.play()));
    parts.play.classList.add("tree-play");
    parts.first = button("Before the first simulation", "⇤", () => stop(view, 0));
    parts.back = button("Previous simulation", "←", () => stop(view, view.step - 1));
    parts.slider = create("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Simulation" }, bar);
    parts.slider.addEventListener("input", () => stop(view, Number(parts.slider.value)));
    parts.forward = button("Next simulation", "→", () => stop(view, view.step + 1));
    parts.last = button("After the last simulation", "⇥", () => stop(view, view.tree.simulations.length));
    const speed = create("select", { "aria-label": "Speed", class: "tree-speed" }, bar);
    for (const value of SPEEDS) create("option", { value }, speed, `${value}×`);
    speed.value = "1";
    parts.speed = () => Number(speed.value);
    create("span", { class: "tree-space" }, bar);
    button("Open all", "⊞", () => view.foldAll(true));
    button("Fold all but the best way", "⊟", () => view.foldAll(false));
    button("Zoom out", "−", () => view.zoom(1 / 1.3));
    button("Zoom in", "+", () => view.zoom(1.3));
    button("Show the whole tree", "⤢", () => view.fit(0.002));
    parts.link = button("Copy a link to this thought", "Link", () => copy(view));
    parts.status = create("p", { class: "tree-status", role: "status" }, view.root);
    return parts;
  }

  // What the address bar says of the thought that is chosen.
  async function copy(view) {
    const { origin, pathname } = window.location;
    const link = `${origin}${pathname}${view.link()}`;
    try {
      await navigator.clipboard.writeText(link);
      view.bar.status.textContent = "The link to this thought is copied.";
    } catch {
      view.bar.status.textContent = link; // a page that may not write there
    }
  }

  function stop(view, step) {
    view.pause();
    view.setStep(step);
  }

  function update(view) {
    const { bar, tree, step } = view;
    if (!bar || !tree) return;
    const last = tree.simulations.length, playing = Boolean(view.timer);
    bar.play.textContent = playing ? "❚❚" : "▶";
    const name = playing ? "Pause" : "Play";
    if (bar.play.title !== name) { bar.play.title = name; bar.play.setAttribute("aria-label", name); }
    bar.link.hidden = !tree.link;
    bar.slider.max = last;
    bar.slider.value = step;
    bar.back.disabled = bar.first.disabled = step === 0;
    bar.forward.disabled = bar.last.disabled = step === last;
    const text = sentence(view);
    if (bar.status.textContent !== text) bar.status.textContent = text;
  }

  function sentence({ tree, step }) {
    const last = tree.simulations.length, where = `simulation ${step} of ${last}`;
    if (tree.captions) return `${where}: ${tree.captions[step]}`;
    if (!step) return `${where} · only the problem`;
    const leaf = tree.simulations[step - 1], reward = tree.reward[leaf];
    if (reward === null) return `${where} · no answer`;
    const right = reward > 0.5;
    const words = tree.votes ? (right ? "most answers agree" : "few answers agree") : right ? "right" : "wrong";
    return `${where} · ${words} (${Number(reward.toFixed(2))})`;
  }

  return { make, update };
})();
