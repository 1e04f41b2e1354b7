// What mouse, fingers and keys do to a drawn tree.
globalThis.treecotGestures = (() => {
  const CLICK = 5; // pixels that a pointer may move in a click

  function add(view) {
    const { stage, map } = view, pointers = new Map();
    let moved = 0;
    stage.addEventListener("wheel", (event) => {
      // Ctrl or a pinch zooms, and so does the wheel once the drawing has the focus; else the page scrolls.
      if (!event.ctrlKey && document.activeElement !== stage) return;
      event.preventDefault();
      view.zoom(Math.exp(-event.deltaY / 400), ...within(stage, event));
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      if (!pointers.size) moved = 0;
      pointers.set(event.pointerId, event);
    });
    stage.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before || !view.tree) return;
      moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
      if (moved > CLICK && !stage.hasPointerCapture(event.pointerId)) stage.setPointerCapture(event.pointerId);
      const other = [...pointers.values()].find((p) => p.pointerId !== event.pointerId);
      if (event.target === map && !other) toMap(view, event);
      else if (other) pinch(view, before, event, other);
      else view.pan(event.clientX - before.clientX, event.clientY - before.clientY);
      pointers.set(event.pointerId, event);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      stage.addEventListener(name, (event) => pointers.delete(event.pointerId));
    }
    stage.addEventListener("click", (event) => {
      if (moved <= CLICK && view.tree) click(view, event);
    });
    stage.addEventListener("dblclick", (event) => {
      const card = event.target.closest(".card");
      if (card) view.fold(Number(card.dataset.node));
    });
    stage.addEventListener("keydown", (event) => key(view, event));
  }

  function within(element, event) {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  function pinch(view, before, event, other) {
    const spread = (p) => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
    view.zoom(spread(event) / Math.max(1, spread(before)), ...within(view.stage, other));
  }

  function toMap(view, event) {
    const [x, y] = within(view.map, event), { scale } = view.camera, { width, height } = view.view;
    const to = (at, size) => size / 2 - ((at - 4) / view.mapScale) * scale;
    view.move({ scale, left: to(x, width), top: to(y, height) });
  }

  function click(view, event) {
    const card = event.target.closest(".card");
    if (event.target === view.map) toMap(view, event);
    else if (card && event.target.closest(".card-fold")) view.fold(Number(card.dataset.node));
    else if (card) view.choose(Number(card.dataset.node));
    else dot(view, ...within(view.stage, event));
  }

  // From far away, where there are dots and no cards: the nearest one, closer.
  function dot(view, x, y) {
    if (view.cards.size) return;
    const { left, top, scale } = view.camera, { card, order } = view.cardsAt;
    const distance = (i) => Math.hypot(
      left + (view.cardsAt.x[i] + card.width / 2) * scale - x, top + (view.cardsAt.y[i] + card.height / 2) * scale - y,
    );
    const there = order.filter((i) => view.there[i]);
    if (!there.length) return;
    const nearest = there.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    view.zoom(1 / scale, x, y);
    view.choose(nearest);
  }

  function key(view, event) {
    if (!view.tree || event.ctrlKey || event.metaKey || event.altKey) return;
    const i = view.chosen, parent = view.tree.parent[i];
    const open = view.folded.has(i) ? [] : view.children[i].filter((child) => view.there[child]);
    const column = view.cardsAt.order.filter((n) => view.depth[n] === view.depth[i] && view.there[n]);
    const at = column.indexOf(i);
    const acts = {
      ArrowLeft: () => parent >= 0 && view.choose(parent),
      ArrowRight: () => (open.length ? view.choose(open[0]) : view.folded.has(i) && view.fold(i)),
      ArrowUp: () => at > 0 && view.choose(column[at - 1]),
      ArrowDown: () => at < column.length - 1 && view.choose(column[at + 1]),
      Home: () => view.choose(0),
      Enter: () => view.choose(i),
      " ": () => view.fold(i),
      "+": () => view.zoom(1.3),
      "-": () => view.zoom(1 / 1.3),
      0: () => view.fit(),
      p: () => (view.timer ? view.pause() : view.play()),
      ".": () => view.setStep(view.step + 1),
      ",": () => view.setStep(view.step - 1),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }

  return { add };
})();
