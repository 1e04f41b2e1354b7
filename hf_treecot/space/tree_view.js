// Draws a tree of thoughts as cards: choose one, fold, step and play through the simulations, move and zoom.
// Texts of a model only ever go into textContent and aria-label. Nothing is loaded from anywhere.
globalThis.treecot = (() => {
  const L = globalThis.treecotLayout, P = globalThis.treecotPaint;
  const NARROW = 600; // pixels: below, cards stand one below the other
  const FAR = 0.38; // scale: below, cards are dots
  const PLAY = 1100; // milliseconds of a simulation at speed 1
  let views = 0;

  function element(name, attributes = {}, parent = null, text = null) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  class TreeView {
    constructor(root, trigger) {
      this.select = treecotSelect(trigger);
      this.id = `tree-${++views}`;
      root.replaceChildren();
      this.root = root;
      this.bar = treecotBar.make(this, element("div", { class: "tree-bar" }, root), element);
      this.stage = element("div", {
        class: "tree-stage", tabindex: 0, role: "tree",
        "aria-label": "Tree of thoughts. Arrow keys walk, space folds, plus and minus zoom, p plays.",
      }, root);
      this.canvas = element("canvas", { class: "tree-lines", "aria-hidden": true }, this.stage);
      this.world = element("div", { class: "tree-world", role: "none" }, this.stage);
      this.map = element("canvas", { class: "tree-map", "aria-hidden": true, hidden: "" }, this.stage);
      treecotGestures.add(this);
      this.show(null);
      new ResizeObserver(() => this.resized()).observe(this.stage);
      new MutationObserver(() => this.tree && this.draw()).observe(document.body, { attributeFilter: ["class"] });
    }

    get view() { return { width: this.stage.clientWidth, height: this.stage.clientHeight }; }

    get isNarrow() { return this.view.width > 0 && this.view.width < NARROW; }

    show(tree) {
      const grows = this.tree && tree && tree.title === this.tree.title;
      if (!grows) this.pause();
      this.tree = tree && tree.kind ? tree : null;
      this.root.classList.toggle("empty", !this.tree);
      this.cards = new Map();
      this.world.replaceChildren();
      if (!this.tree) return;
      Object.assign(this, L.family(tree.parent));
      const last = tree.simulations.length, still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const plays = tree.play && !grows && !still;
      this.replay(plays ? 0 : grows && !tree.follow ? this.step : tree.step ?? last);
      if (!grows) this.chosen = tree.chosen > 0 && tree.chosen < tree.kind.length ? tree.chosen : 0;
      if (!grows || tree.follow) this.foldAtFirst();
      this.layout();
      if (!grows || tree.follow) this.fit(); else this.draw();
      if (plays) this.play();
    }

    // Of a large tree only a part is open: the best path, the ways to what is chosen or marked, what was visited most.
    foldAtFirst(rows) {
      const { visits } = L.replay(this.tree, this.tree.simulations.length);
      const best = L.bestPath(this.tree, this.children, visits);
      const ends = [this.chosen, this.tree.marks?.chosen ?? 0, this.tree.marks?.rejected ?? 0];
      const open = [...new Set([...best, ...ends.flatMap((end) => L.pathTo(this.tree.parent, end))])];
      const down = this.isNarrow;
      rows ??= L.rowsIn(this.view, down);
      this.folded = L.foldAtFirst(this.tree.parent, this, open, visits, { rows, down });
    }

    layout() {
      const down = this.isNarrow;
      const card = down ? { width: Math.min(300, this.view.width - 50), height: L.CARD.height } : L.CARD;
      this.cardsAt = L.place(this.children, this.folded, { down, card });
    }

    resized() {
      if (!this.tree || !this.view.width) return;
      if (!this.camera) this.foldAtFirst(); // only now there is a size to fit
      this.layout();
      if (!this.camera || this.fitted) this.fit(); else this.draw();
      if (this.waits) { this.waits = false; this.play(); }
    }

    replay(step) {
      Object.assign(this, L.replay(this.tree, step));
      treecotBar.update(this);
    }

    setStep(step) {
      if (!this.tree) return;
      this.replay(step);
      if (!this.there[this.chosen]) this.chosen = 0;
      this.draw();
      this.announce();
    }

    play() {
      if (!this.tree || this.timer) return;
      if (this.step >= this.tree.simulations.length) this.setStep(0);
      this.timer = setTimeout(() => this.tick(), this.step ? PLAY / this.bar.speed() : 300);
      treecotBar.update(this);
    }

    tick() {
      this.timer = null;
      if (!this.stage.offsetParent) { this.waits = true; treecotBar.update(this); return; } // another tab is open
      this.setStep(this.step + 1);
      this.bring(this.tree.simulations[this.step - 1]);
      if (this.step < this.tree.simulations.length) { this.play(); return; }
      treecotBar.update(this);
      if (this.tree.marks) this.fit();
    }

    pause() {
      clearTimeout(this.timer);
      this.timer = null;
      treecotBar.update(this);
    }

    fit(least) {
      if (!this.tree || !this.view.width) { this.camera = null; return; }
      this.camera = L.fit(this.cardsAt, this.view, this.chosen, least);
      this.fitted = true;
      this.draw();
    }

    zoom(factor, x = this.view.width / 2, y = this.view.height / 2) {
      if (this.tree) this.move(L.zoom(this.camera, factor, x, y));
    }

    pan(dx, dy) {
      if (this.tree) this.move({ ...this.camera, left: this.camera.left + dx, top: this.camera.top + dy });
    }

    move(camera) {
      const zoomed = camera.scale !== this.camera?.scale;
      this.camera = camera;
      this.fitted = false;
      if (zoomed) this.draw(); else this.drawVisible();
    }

    // A card into view, with as little movement as there can be.
    bring(i) {
      if (!this.camera || !this.cardsAt.order.includes(i)) return;
      const camera = L.reveal(this.cardsAt, this.view, this.camera, i);
      if (camera.left !== this.camera.left || camera.top !== this.camera.top) this.move(camera);
    }

    choose(i) {
      this.chosen = i;
      this.bring(i);
      this.draw();
      this.announce();
    }

    announce() {
      // Whoever holds a key down asks once, for the last thought; a link to it is in the address bar.
      clearTimeout(this.asking);
      this.asking = setTimeout(() => {
        if (this.tree?.link) history.replaceState(null, "", this.link());
        this.select({ node: this.chosen, step: this.step });
      }, this.timer ? 250 : 60);
    }

    link() { return `${this.tree.link}&node=${this.chosen}&step=${this.step}`; }

    fold(i) {
      if (!this.children[i].length) return;
      const opened = this.folded.delete(i);
      if (!opened) this.folded.add(i);
      const { x, y } = this.cardsAt, left = x[i], top = y[i];
      this.layout();
      const { scale } = this.camera;
      this.pan((left - this.cardsAt.x[i]) * scale, (top - this.cardsAt.y[i]) * scale);
      if (!this.cardsAt.order.includes(this.chosen)) this.chosen = i;
      if (opened) [this.children[i].at(-1), this.children[i][0], i].forEach((k) => this.bring(k));
      this.draw();
    }

    foldAll(open) {
      if (!this.tree) return;
      if (open) this.folded = new Set(); else this.foldAtFirst(1);
      this.layout();
      if (!this.cardsAt.order.includes(this.chosen)) this.chosen = 0;
      this.fit(open ? 0.002 : undefined);
    }

    draw() {
      this.world.replaceChildren();
      this.cards = new Map();
      this.drawVisible();
    }

    // Only what is in sight is in the page: a large tree stays smooth.
    drawVisible() {
      if (!this.tree || !this.camera) return;
      const { left, top, scale } = this.camera, at = this.cardsAt, sight = L.inView(this.view, this.camera);
      const far = scale < FAR, { card } = at;
      this.world.style.transform = `translate(${left}px, ${top}px) scale(${scale})`;
      const seen = (i) => this.there[i] && at.x[i] + card.width >= sight.left && at.x[i] <= sight.right &&
        at.y[i] + card.height >= sight.top && at.y[i] <= sight.bottom;
      if (!far) for (const i of at.order) {
        if (seen(i)) { if (!this.cards.has(i)) this.cards.set(i, treecotCard.make(this, i, element)); }
        else if (this.cards.has(i)) { this.cards.get(i).remove(); this.cards.delete(i); }
      }
      this.paint(sight, far);
      this.stage.setAttribute("aria-activedescendant", `${this.id}-${this.chosen}`);
    }

    paint(sight, far) {
      const colours = P.colours(this.stage), all = Math.max(1, this.visits[0]), marked = this.marked();
      const stroke = (i) => {
        const on = marked.chosen.size ? marked.chosen.has(i) : this.path.has(i), off = marked.rejected.has(i);
        const width = 1.5 + 5 * (this.visits[i] / all) + (on || off ? 1 : 0);
        const colour = marked.chosen.has(i) ? colours.right : off ? colours.wrong : on ? colours.path : colours.edge;
        return { width: far ? Math.max(width, 1 / this.camera.scale) : width, colour };
      };
      const shown = (i) => this.there[i];
      const context = P.prepare(this.canvas);
      P.lines(context, this.cardsAt, this.camera, sight, this.tree.parent, shown, stroke);
      const { reward } = this.tree;
      const colour = (i) => i === this.chosen ? colours.path
        : reward[i] === null ? colours.quiet : reward[i] > 0.5 ? colours.right : colours.wrong;
      if (far) P.dots(context, this.cardsAt, this.camera, shown, colour, Math.max(3, 60 * this.camera.scale));
      this.paintMap(colour, shown, sight, colours);
    }

    // The whole of what is open in a corner, with what is in sight framed; only if there is much out of sight.
    paintMap(colour, shown, sight, colours) {
      const at = this.cardsAt, { width, height } = this.view, { scale } = this.camera;
      this.map.hidden = width < NARROW || at.width * scale * at.height * scale < 1.6 * width * height;
      if (this.map.hidden) return;
      const context = P.prepare(this.map), { clientWidth, clientHeight } = this.map;
      const small = Math.min((clientWidth - 8) / at.width, (clientHeight - 8) / at.height);
      this.mapScale = small;
      P.dots(context, at, { scale: small, left: 4, top: 4 }, shown, colour, Math.max(1.5, 50 * small));
      context.strokeStyle = colours.path;
      context.lineWidth = 2;
      context.strokeRect(
        4 + sight.left * small, 4 + sight.top * small,
        Math.max(4, (sight.right - sight.left) * small), Math.max(4, (sight.bottom - sight.top) * small),
      );
    }

    // The two chains of a pair, once all has grown.
    marked() {
      const { marks, simulations } = this.tree;
      const ends = marks && this.step === simulations.length ? marks : {};
      const of = (leaf) => new Set(leaf > 0 ? L.pathTo(this.tree.parent, leaf) : []);
      return { chosen: of(ends.chosen), rejected: of(ends.rejected) };
    }
  }

  function mount(root, props, trigger, watch) {
    const view = new TreeView(root.querySelector(".tree-view"), trigger);
    view.show(props.value);
    watch("value", () => view.show(props.value));
    root.treeView = view;
  }

  return { mount, element };
})();
