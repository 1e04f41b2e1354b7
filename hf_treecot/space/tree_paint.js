// Lines between cards, and whole trees as dots: on a canvas, which takes 20,000 thoughts as well as 20.
globalThis.treecotPaint = (() => {
  // A canvas of its element's size, in the screen's own pixels.
  function prepare(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas, ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }

  function colours(element) {
    const style = getComputedStyle(element);
    const of = (name) => style.getPropertyValue(`--treecot-${name}`).trim();
    return { edge: of("edge"), path: of("path"), right: of("right"), wrong: of("wrong"), quiet: of("quiet") };
  }

  // From the right side of a parent to the left side of its child; in a column, down and to the right.
  function line(context, layout, parent, child) {
    const { x, y, card } = layout;
    if (layout.down) {
      const left = x[parent] + 8, middle = y[child] + card.height / 2;
      context.moveTo(left, y[parent] + card.height);
      context.lineTo(left, x[child] > x[parent] ? middle : y[child]);
      if (x[child] > x[parent]) context.lineTo(x[child], middle);
      return;
    }
    const from = [x[parent] + card.width, y[parent] + card.height / 2], to = [x[child], y[child] + card.height / 2];
    const middle = (from[0] + to[0]) / 2;
    context.moveTo(...from);
    context.bezierCurveTo(middle, from[1], middle, to[1], ...to);
  }

  // Lines of the cards near the view. `stroke` says of a child how its line is drawn.
  function lines(context, layout, camera, window, parent, shown, stroke) {
    const { x, y, card } = layout;
    context.save();
    context.translate(camera.left, camera.top);
    context.scale(camera.scale, camera.scale);
    for (const i of layout.order) {
      const p = parent[i];
      if (p < 0 || !shown(i)) continue;
      if (Math.max(x[i], x[p]) + card.width < window.left || Math.min(x[i], x[p]) > window.right) continue;
      if (Math.max(y[i], y[p]) + card.height < window.top || Math.min(y[i], y[p]) > window.bottom) continue;
      const { width, colour } = stroke(i);
      context.beginPath();
      context.lineWidth = width;
      context.strokeStyle = colour;
      line(context, layout, p, i);
      context.stroke();
    }
    context.restore();
  }

  // Every card as a dot, for the small map and for a view from far away.
  function dots(context, layout, camera, shown, colour, size) {
    for (const i of layout.order) {
      if (!shown(i)) continue;
      context.fillStyle = colour(i);
      const x = camera.left + (layout.x[i] + layout.card.width / 2) * camera.scale;
      const y = camera.top + (layout.y[i] + layout.card.height / 2) * camera.scale;
      context.fillRect(x - size / 2, y - size / 2, size, size);
    }
  }

  return { prepare, colours, lines, dots };
})();
