// Draws a tree of thoughts as SVG: zoom, pan, collapse, choose a node, step through the simulations.
// Texts of a model only ever go into textContent and aria-label. Nothing is loaded from anywhere.
window.treecot = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const COLUMN = 190, ROW = 34, READABLE = 0.62;
  let views = 0;

  function element(name, attributes = {}, parent = null, text = null) {
    const made = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== null) made.textContent = text;
    if (parent) parent.append(made);
    return made;
  }

  class TreeView {
    constructor(root, trigger) {
      this.trigger = trigger;
      this.id = `tree-${++views}`;
      root.replaceChildren();
      const bar = element("div", { class: "tree-bar" }, root);
      const button = (label, text, act) => {
        const made = element("button", { type: "button", "aria-label": label, title: label }, bar, text);
        made.addEventListener("click", act);
        return made;
      };
      this.first = button("Before the first simulation", "⇤", () => this.setStep(0));
      this.back = button("Previous simulation", "←", () => this.setStep(this.step - 1));
      this.slider = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": "Simulation" }, bar);
      this.slider.addEventListener("input", () => this.setStep(Number(this.slider.value)));
      this.forward = button("Next simulation", "→", () => this.setStep(this.step + 1));
      this.last = button("After the last simulation", "⇥", () => this.setStep(this.tree.simulations.length));
      this.status = element("span", { class: "tree-status", "aria-live": "polite" }, bar);
      button("Zoom out", "−", () => this.zoom(1 / 1.3));
      button("Zoom in", "+", () => this.zoom(1.3));
      button("Show the whole tree", "⤢", () => this.fit());
      this.svg = element("svg:svg", {
        class: "tree-svg", tabindex: 0, role: "tree", "aria-label":
          "Tree of thoughts. Arrow keys walk, space folds, plus and minus zoom.",
      }, root);
      this.world = element("svg:g", {}, this.svg);
      this.edges = element("svg:g", { class: "edges" }, this.world);
      this.nodes = element("svg:g", { class: "nodes" }, this.world);
      this.addGestures();
      new ResizeObserver(() => this.drawVisible()).observe(this.svg);
    }

    show(tree) {
      const grows = this.tree && tree && tree.title === this.tree.title;
      this.tree = tree;
      this.edges.replaceChildren();
      this.nodes.replaceChildren();
      this.drawn = new Map();
      if (!tree || !tree.kind) { this.status.textContent = ""; this.tree = null; return; }
      const count = tree.kind.length;
      this.children = Array.from({ length: count }, () => []);
      this.depth = new Int32Array(count);
      for (let i = 1; i < count; i++) {
        this.children[tree.parent[i]].push(i);
        this.depth[i] = this.depth[tree.parent[i]] + 1;
      }
      if (!grows) { this.collapsed = new Set(); this.chosen = 0; }
      this.slider.max = tree.simulations.length;
      this.replay(tree.simulations.length);
      this.layout();
      if (!grows || tree.follow) this.fit(READABLE); else this.draw();
    }

    // Visits and values after so many simulations, as the search had them.
    replay(step) {
      const { parent, reward, simulations } = this.tree, count = parent.length;
      this.step = Math.max(0, Math.min(step, simulations.length));
      this.visits = new Int32Array(count);
      this.values = new Float64Array(count);
      this.there = new Uint8Array(count);
      this.path = new Set();
      for (let i = 0; i < count; i++) this.there[i] = i === 0 || this.tree.simulation[i] < this.step ? 1 : 0;
      simulations.slice(0, this.step).forEach((leaf, s) => {
        for (let i = leaf; i !== -1; i = parent[i]) {
          this.visits[i] += 1;
          this.values[i] += reward[leaf] ?? 0;
          this.there[i] = 1;
          if (s === this.step - 1) this.path.add(i);
        }
      });
      this.slider.value = this.step;
      this.back.disabled = this.first.disabled = this.step === 0;
      this.forward.disabled = this.last.disabled = this.step === simulations.length;
      const end = this.step ? simulations[this.step - 1] : null;
      const outcome = end === null ? "" : reward[end] === null ? " · no answer"
        : ` · ${this.outcome(end)} (${Number(reward[end].toFixed(2))})`;
      const text = `simulation ${this.step} of ${simulations.length}${outcome}`;
      if (this.status.textContent !== text) this.status.textContent = text;
    }

    // A search without a gold answer knows only how many of its answers agree.
    outcome(i) {
      const right = this.tree.reward[i] > 0.5;
      return this.tree.votes ? (right ? "most answers agree" : "few answers agree") : right ? "right" : "wrong";
    }

    setStep(step) {
      if (!this.tree) return;
      this.replay(step);
      if (!this.there[this.chosen]) this.chosen = 0;
      this.draw();
      this.announce();
    }

    // Leaves one below the other, parents amid their children; without recursion, since chains can be long.
    layout() {
      const count = this.children.length;
      this.x = new Float64Array(count);
      this.y = new Float64Array(count);
      this.order = [];
      let row = 0;
      const stack = [[0, false]];
      while (stack.length) {
        const [i, done] = stack.pop();
        const open = this.collapsed.has(i) ? [] : this.children[i];
        if (done) {
          this.y[i] = open.length ? (this.y[open[0]] + this.y[open[open.length - 1]]) / 2 : row++ * ROW;
          continue;
        }
        this.order.push(i);
        this.x[i] = this.depth[i] * COLUMN;
        stack.push([i, true]);
        for (let k = open.length - 1; k >= 0; k--) stack.push([open[k], false]);
      }
      this.width = COLUMN * (1 + Math.max(...this.order.map((i) => this.depth[i])));
      this.height = Math.max(1, row) * ROW;
    }

    // The whole tree, or as much of it, from the root on, as can be read.
    fit(least = 0.02) {
      if (!this.tree) return;
      const { width, height } = this.svg.getBoundingClientRect();
      if (!width) { this.scale = 1; this.left = this.top = 0; return; }
      this.scale = Math.min(1.2, (width - 30) / (this.width + 20), (height - 20) / (this.height + 10));
      this.scale = Math.max(this.scale, least);
      this.left = 18;
      const room = height - this.height * this.scale;
      this.top = room > 0 ? room / 2 + (ROW / 2) * this.scale : height / 2 - this.y[0] * this.scale;
      this.draw();
    }

    zoom(factor, x = this.svg.clientWidth / 2, y = this.svg.clientHeight / 2) {
      if (!this.tree) return;
      const scale = Math.max(0.02, Math.min(4, this.scale * factor));
      this.left = x - ((x - this.left) * scale) / this.scale;
      this.top = y - ((y - this.top) * scale) / this.scale;
      this.scale = scale;
      this.drawVisible();
    }

    pan(dx, dy) {
      this.left += dx;
      this.top += dy;
      this.drawVisible();
    }

    addGestures() {
      const pointers = new Map();
      let moved = 0;
      this.svg.addEventListener("wheel", (event) => {
        // Ctrl or a pinch zooms, and so does the wheel once the drawing has the focus; else the page scrolls.
        if (!event.ctrlKey && document.activeElement !== this.svg) return;
        event.preventDefault();
        const box = this.svg.getBoundingClientRect();
        this.zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
      }, { passive: false });
      this.svg.addEventListener("pointerdown", (event) => {
        pointers.set(event.pointerId, event);
        moved = 0;
      });
      this.svg.addEventListener("pointermove", (event) => {
        const before = pointers.get(event.pointerId);
        if (!before || !this.tree) return;
        moved += Math.abs(event.clientX - before.clientX) + Math.abs(event.clientY - before.clientY);
        if (moved > 4 && !this.svg.hasPointerCapture(event.pointerId)) this.svg.setPointerCapture(event.pointerId);
        const others = [...pointers.values()].filter((p) => p.pointerId !== event.pointerId);
        if (others.length) {
          const spread = (p) => Math.hypot(p.clientX - others[0].clientX, p.clientY - others[0].clientY);
          const box = this.svg.getBoundingClientRect();
          this.zoom(spread(event) / Math.max(1, spread(before)), others[0].clientX - box.left, others[0].clientY - box.top);
        } else {
          this.pan(event.clientX - before.clientX, event.clientY - before.clientY);
        }
        pointers.set(event.pointerId, event);
      });
      for (const name of ["pointerup", "pointercancel"]) {
        this.svg.addEventListener(name, (event) => pointers.delete(event.pointerId));
      }
      this.svg.addEventListener("click", (event) => {
        const node = event.target.closest("[data-node]");
        if (!node || moved > 4) return;
        const i = Number(node.dataset.node);
        if (event.target.closest(".fold")) this.fold(i); else this.choose(i);
      });
      this.svg.addEventListener("dblclick", (event) => {
        const node = event.target.closest("[data-node]");
        if (node) this.fold(Number(node.dataset.node));
      });
      this.svg.addEventListener("keydown", (event) => this.key(event));
    }

    key(event) {
      if (!this.tree || event.ctrlKey || event.metaKey || event.altKey) return;
      const i = this.chosen, parent = this.tree.parent[i];
      const open = this.collapsed.has(i) ? [] : this.children[i].filter((c) => this.there[c]);
      const column = this.order.filter((n) => this.depth[n] === this.depth[i] && this.there[n]);
      const at = column.indexOf(i);
      const acts = {
        ArrowLeft: () => parent >= 0 && this.choose(parent),
        ArrowRight: () => open.length && this.choose(open[0]),
        ArrowUp: () => at > 0 && this.choose(column[at - 1]),
        ArrowDown: () => at < column.length - 1 && this.choose(column[at + 1]),
        Home: () => this.choose(0),
        Enter: () => this.choose(i),
        " ": () => this.fold(i),
        "+": () => this.zoom(1.3),
        "-": () => this.zoom(1 / 1.3),
        "0": () => this.fit(),
        ".": () => this.setStep(this.step + 1),
        ",": () => this.setStep(this.step - 1),
      };
      if (!acts[event.key]) return;
      event.preventDefault();
      acts[event.key]();
    }

    choose(i) {
      this.chosen = i;
      this.reveal(i);
      this.draw();
      this.announce();
    }

    announce() {
      // Whoever holds a key down asks once, for the last node.
      clearTimeout(this.asking);
      this.asking = setTimeout(() => this.trigger("select", { node: this.chosen, step: this.step }), 60);
    }

    fold(i) {
      if (!this.children[i].length) return;
      if (!this.collapsed.delete(i)) this.collapsed.add(i);
      const before = this.y[i];
      this.layout();
      this.top += (before - this.y[i]) * this.scale;
      if (!this.order.includes(this.chosen)) this.chosen = i;
      this.draw();
    }

    reveal(i) {
      const { clientWidth: width, clientHeight: height } = this.svg;
      const x = this.left + this.x[i] * this.scale, y = this.top + this.y[i] * this.scale;
      if (x < 10) this.left += 30 - x;
      if (x > width - 60) this.left -= x - width + 160;
      if (y < 10) this.top += 30 - y;
      if (y > height - 20) this.top -= y - height + 40;
    }

    draw() {
      this.edges.replaceChildren();
      this.nodes.replaceChildren();
      this.drawn = new Map();
      this.drawVisible();
    }

    // Only what is in sight is in the page: a large tree stays smooth.
    drawVisible() {
      if (!this.tree || this.scale === undefined) return;
      this.world.setAttribute("transform", `translate(${this.left} ${this.top}) scale(${this.scale})`);
      this.svg.classList.toggle("far", this.scale < 0.45);
      const { clientWidth: width, clientHeight: height } = this.svg;
      const x0 = -this.left / this.scale - COLUMN, x1 = (width - this.left) / this.scale;
      const y0 = -this.top / this.scale - ROW, y1 = (height - this.top) / this.scale + ROW;
      const near = (i) => this.x[i] >= x0 && this.x[i] <= x1 && this.y[i] >= y0 && this.y[i] <= y1;
      const between = (i, p) => this.x[i] >= x0 && this.x[p] <= x1 &&
        Math.max(this.y[i], this.y[p]) >= y0 && Math.min(this.y[i], this.y[p]) <= y1;
      for (const i of this.order) {
        if (!this.there[i]) continue;
        const p = this.tree.parent[i], has = this.drawn.get(i);
        const node = near(i), edge = p >= 0 && between(i, p);
        if (has && has.node === node && has.edge === edge) continue;
        if (node && !has?.node) this.drawNode(i);
        if (edge && !has?.edge) this.drawEdge(i, p);
        this.drawn.set(i, { node: node || has?.node || false, edge: edge || has?.edge || false });
      }
      this.svg.setAttribute("aria-activedescendant", `${this.id}-${this.chosen}`);
    }

    drawEdge(i, p) {
      const middle = (this.x[i] + this.x[p]) / 2, share = this.visits[i] / Math.max(1, this.visits[0]);
      element("svg:path", {
        d: `M${this.x[p]} ${this.y[p]}C${middle} ${this.y[p]} ${middle} ${this.y[i]} ${this.x[i]} ${this.y[i]}`,
        "stroke-width": 1 + 5 * share, class: this.path.has(i) ? "on-path" : "",
      }, this.edges);
    }

    drawNode(i) {
      const { kind, reward, critic, dead, label } = this.tree;
      const visits = this.visits[i], value = visits ? (this.values[i] / visits).toFixed(2) : "–";
      const verified = reward[i] !== null && visits > 0;
      const right = verified && reward[i] > 0.5;
      const outcome = verified ? this.outcome(i) : dead[i] ? "dead end" : "";
      const radius = 5 + 7 * Math.sqrt(visits / Math.max(1, this.visits[0]));
      const classes = ["node", `kind-${kind[i]}`, verified ? (right ? "right" : "wrong") : "", critic[i] ? "critic" : "",
        visits ? "" : "unvisited", i === this.chosen ? "chosen" : "", this.path.has(i) ? "on-path" : ""];
      const name = kind[i].replaceAll("_", "-");
      const group = element("svg:g", {
        id: `${this.id}-${i}`, "data-node": i, class: classes.filter(Boolean).join(" "), role: "treeitem",
        transform: `translate(${this.x[i]} ${this.y[i]})`, "aria-level": this.depth[i] + 1,
        "aria-selected": i === this.chosen,
        "aria-label": `${name}${critic[i] ? " by the critic" : ""}, ${visits} visits, value ${value}` +
          `${outcome && `, ${outcome}`}: ${label[i]}`,
      }, this.nodes);
      if (this.children[i].length) group.setAttribute("aria-expanded", !this.collapsed.has(i));
      element("svg:rect", { class: "target", x: -14, y: -ROW / 2, width: COLUMN - 8, height: ROW }, group);
      if (critic[i]) {  // a diamond: a mark that does not need colour
        const r = radius * 1.25;
        element("svg:path", { class: "shape", d: `M0 ${-r}L${r} 0L0 ${r}L${-r} 0Z` }, group);
      } else {
        element("svg:circle", { class: "shape", r: radius }, group);
      }
      if (verified || dead[i]) {
        element("svg:text", { class: "mark", y: 4 }, group, verified ? (right ? "✓" : "✗") : "∅");
      }
      const at = radius + 5;
      element("svg:text", { class: "numbers", x: at, y: -5 }, group, `${name} N=${visits} v/N=${value}`);
      element("svg:text", { class: "label", x: at, y: 13 }, group, short(label[i], 27));
      if (this.children[i].length) {
        const folded = this.collapsed.has(i);
        const fold = element("svg:g", { class: "fold", transform: `translate(0 ${radius + 6})` }, group);
        element("svg:circle", { r: 5.5 }, fold);
        element("svg:text", { y: 3.5 }, fold, folded ? "+" : "−");
      }
    }
  }

  function short(text, length) {
    return [...text].length > length ? [...text].slice(0, length - 1).join("") + "…" : text;
  }

  function mount(root, props, trigger, watch) {
    const view = new TreeView(root.querySelector(".tree-view"), trigger);
    view.show(props.value);
    watch("value", () => view.show(props.value));
    root.treeView = view;
  }

  return { mount };
})();
