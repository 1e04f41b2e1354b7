// The arithmetic of a drawn tree: what its simulations came to, what is folded, where cards stand, how the view fits.
// It knows neither page nor colours, so that it is tested without a browser.
globalThis.treecotLayout = (() => {
  const ROWS = 9; // of cards that are open at first
  const CARD = { width: 196, height: 72 }; // pixels at 1:1
  const GAP = { across: 38, between: 8, indent: 16 };
  const READABLE = 0.75; // a smaller scale is not chosen by itself while there is something to read

  // Children, depth, and how many thoughts stand below every node. Parents come before their children.
  function family(parent) {
    const count = parent.length;
    const children = Array.from({ length: count }, () => []);
    const depth = new Int32Array(count), below = new Int32Array(count);
    for (let i = 1; i < count; i++) {
      children[parent[i]].push(i);
      depth[i] = depth[parent[i]] + 1;
    }
    for (let i = count - 1; i > 0; i--) below[parent[i]] += below[i] + 1;
    return { children, depth, below };
  }

  // Visits and values after so many simulations, as the search had them, and the way of the last one.
  function replay(tree, wanted) {
    const { parent, reward, simulation, simulations } = tree, count = parent.length;
    const step = Math.max(0, Math.min(wanted, simulations.length));
    const visits = new Int32Array(count), values = new Float64Array(count), there = new Uint8Array(count);
    const path = new Set();
    for (let i = 0; i < count; i++) there[i] = i === 0 || simulation[i] < step ? 1 : 0;
    for (let s = 0; s < step; s++) {
      const leaf = simulations[s];
      for (let i = leaf; i >= 0; i = parent[i]) {
        visits[i] += 1;
        values[i] += reward[leaf] ?? 0;
        there[i] = 1;
        if (s === step - 1) path.add(i);
      }
    }
    return { step, visits, values, there, path };
  }

  function pathTo(parent, node) {
    const path = [];
    for (let i = node; i >= 0; i = parent[i]) path.push(i);
    return path.reverse();
  }

  // To the right answer with most visits; without a right one, along what was visited most.
  function bestPath(tree, children, visits) {
    let best = -1;
    tree.reward.forEach((reward, i) => {
      if (reward > 0.5 && (best < 0 || visits[i] > visits[best])) best = i;
    });
    if (best >= 0) return pathTo(tree.parent, best);
    const path = [0];
    for (let i = 0; children[i].length; path.push(i)) i = children[i].reduce((a, b) => (visits[b] > visits[a] ? b : a));
    return path;
  }

  // What is folded at first: all but the best path and, as far as there is room, what was visited most. A tree that fits
  // is open. Whoever opens a thought then sees its children, not all that is below.
  function foldAtFirst(parent, { children, depth }, best, visits, { rows = ROWS, down = false } = {}) {
    const open = new Set(best), taken = []; // cards of a column; in a single one, of all
    const column = (i) => (down ? 0 : depth[i] + 1);
    const count = (i) => (taken[column(i)] ?? 0) + children[i].length;
    for (const i of best) taken[column(i)] = count(i);
    const byVisits = children.map((_, i) => i).sort((a, b) => visits[b] - visits[a] || a - b);
    for (const i of byVisits) { // parents come first: they are visited at least as often
      if (open.has(i) || !open.has(parent[i]) || count(i) > rows) continue;
      open.add(i);
      taken[column(i)] = count(i);
    }
    return new Set(byVisits.filter((i) => children[i].length && !open.has(i)));
  }

  // How many rows of cards can be read at a time; in a column some screens of them.
  function rowsIn(view, down) {
    const rows = view.height / (CARD.height + GAP.between);
    return Math.max(down ? 12 : 6, Math.floor(down ? 2 * rows : rows / READABLE));
  }

  // Where the upper left corners of the cards go. Across: depth is a column, parents stand amid their children, as close
  // to their neighbours as the columns allow (Wetherell and Shannon 1979). Down, for narrow screens: a card a row,
  // indented where ways part. Without recursion, since chains can be long.
  function place(children, folded, { down = false, card = CARD } = {}) {
    const count = children.length, step = card.height + GAP.between;
    const x = new Float64Array(count), y = new Float64Array(count), order = [], shift = new Float64Array(count);
    const next = [], offset = []; // of a column: where its next card may go, and how far it was moved
    const stack = [[0, 0, false]];
    while (stack.length) {
      const [i, column, done] = stack.pop(), open = folded.has(i) ? [] : children[i];
      if (done) {
        const free = next[column] ?? 0, wanted = open.length ? (y[open[0]] + y[open.at(-1)]) / 2 : free;
        offset[column] = Math.max(offset[column] ?? 0, free - wanted);
        shift[i] = open.length ? offset[column] : 0;
        y[i] = wanted + shift[i];
        next[column] = y[i] + step;
        continue;
      }
      order.push(i);
      x[i] = column * (down ? GAP.indent : card.width + GAP.across);
      stack.push([i, column, true]);
      const further = down && open.length < 2 ? column : column + 1;
      for (let k = open.length - 1; k >= 0; k--) stack.push([open[k], further, false]);
    }
    if (down) order.forEach((i, row) => { y[i] = row * step; });
    else settle(children, folded, order, y, shift);
    const [width, height] = order.reduce(([a, b], i) => [Math.max(a, x[i]), Math.max(b, y[i])], [0, 0]);
    return { x, y, order, width: width + card.width, height: height + card.height, card, down };
  }

  // Whoever was moved takes along all that stands below.
  function settle(children, folded, order, y, shift) {
    const moved = new Float64Array(y.length);
    for (const i of order) {
      y[i] += moved[i];
      if (!folded.has(i)) for (const child of children[i]) moved[child] = moved[i] + shift[i];
    }
    const top = order.reduce((least, i) => Math.min(least, y[i]), Infinity);
    for (const i of order) y[i] -= top;
  }

  // Scale and offset at which all of a layout is in view, or as much of it as can be read, around one of its cards.
  function fit(layout, view, around = 0, least = READABLE) {
    const margin = 14, room = { width: view.width - 2 * margin, height: view.height - 2 * margin };
    const whole = Math.min(1, room.width / layout.width, layout.down ? 1 : room.height / layout.height);
    const scale = Math.max(whole, least);
    return { scale, ...centred(layout, view, around, scale, margin) };
  }

  function centred(layout, view, around, scale, margin) {
    const along = (size, length, start, extent) => {
      if (size * scale <= length - 2 * margin) return (length - size * scale) / 2;
      const wanted = length / 2 - (start + extent / 2) * scale;
      return Math.max(Math.min(wanted, margin), length - margin - size * scale);
    };
    const { card } = layout;
    const top = along(layout.height, view.height, layout.y[around], card.height);
    const left = along(layout.width, view.width, layout.x[around], card.width);
    return { left, top: layout.down ? Math.min(top, margin) : top };
  }

  // The view, moved as little as possible so that a card is in it.
  function reveal(layout, view, camera, i) {
    const margin = 16;
    const along = (offset, start, extent, length) => {
      const from = offset + start * camera.scale, to = from + extent * camera.scale;
      if (from < margin || extent * camera.scale > length - 2 * margin) return offset + margin - from;
      return to > length - margin ? offset + length - margin - to : offset;
    };
    return {
      scale: camera.scale,
      left: along(camera.left, layout.x[i], layout.card.width, view.width),
      top: along(camera.top, layout.y[i], layout.card.height, view.height),
    };
  }

  // Closer or farther, with the point under the pointer where it is.
  function zoom(camera, factor, x, y) {
    const scale = Math.max(0.002, Math.min(3, camera.scale * factor));
    const grown = scale / camera.scale;
    return { scale, left: x - (x - camera.left) * grown, top: y - (y - camera.top) * grown };
  }

  // The part of a layout that is in view, in its own pixels.
  function inView(view, { left, top, scale }) {
    return {
      left: -left / scale, top: -top / scale, right: (view.width - left) / scale, bottom: (view.height - top) / scale,
    };
  }

  return { CARD, READABLE, family, replay, pathTo, bestPath, foldAtFirst, rowsIn, place, fit, reveal, zoom, inView };
})();
