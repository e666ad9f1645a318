"use strict";
// Pointer, wheel and keys.

/** Width of a pixel of the charts, on the axis. */
const unitPerPixel = () => (view.high - view.low) / Math.max(1, surfaces.timeline.width - GUTTER.left - GUTTER.right);

/** Wheel zooms about the pointer; sideways, or with shift, it pans. */
function onWheel(surface, event) {
  event.preventDefault();
  const sideways = event.shiftKey ? event.deltaY || event.deltaX : event.deltaX;
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    pan(sideways * unitPerPixel());
    return;
  }
  const unit = new Axis(surface).unit(surface.place(event).x);
  zoomAbout(unit, Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))));
}

/** Follows a pointer from press to release. */
function onDrag(canvas, begin) {
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const drag = begin(event);
    if (!drag) return;
    const move = (one) => drag.move?.(one);
    const end = (one) => {
      canvas.removeEventListener("pointermove", move);
      drag.end?.(one);
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", end, { once: true });
  });
}

function chartInput(surface, hitBlock) {
  const { canvas } = surface;
  canvas.addEventListener("wheel", (event) => onWheel(surface, event), { passive: false });
  canvas.addEventListener("dblclick", () => setWindow(...wholeAxis()));
  onDrag(canvas, (event) => {
    const start = surface.place(event), axis = new Axis(surface);
    const [low, high] = [view.low, view.high];
    if (event.shiftKey) {
      // A stretch is zoomed into when it is let go.
      return { end: (one) => {
        const stop = surface.place(one).x;
        if (Math.abs(stop - start.x) > 4) {
          setWindow(axis.unit(Math.min(start.x, stop)), axis.unit(Math.max(start.x, stop)));
        }
      } };
    }
    if (surface === surfaces.timeline && start.y > surface.height - TIMELINE.bottom) {
      return { move: (one) => {
        const moved = (start.x - surface.place(one).x) / axis.scale;
        setWindow(low + moved, high + moved);
      } };
    }
    const at = (one) => setMoment(tickOf(axis.unit(axis.clamp(surface.place(one).x))));
    at(event);
    const block = hitBlock?.(start) ?? -1;
    if (block >= 0) choose(block);
    return { move: at };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.buttons) { showTip(event, null); return; }
    const place = surface.place(event), axis = new Axis(surface);
    if (place.x < axis.left || place.x > axis.left + axis.width) { showTip(event, null); return; }
    const block = hitBlock?.(place) ?? -1;
    showTip(event, block >= 0 ? blockTip(block) : momentTip(tickOf(axis.unit(place.x))));
  });
  canvas.addEventListener("pointerleave", (event) => showTip(event, null));
  canvas.addEventListener("keydown", (event) => chartKey(event));
}

/** What a moment of the timeline holds, largest categories first. */
function momentTip(tick) {
  const { model, kinds } = view;
  const sums = kinds.sumsAt(tick, new Float64Array(KINDS));
  const lines = [`event ${countText(tick)}, ${model.timeText(tick)}`, `live ${bytesText(model.live[tick])}${model.knowsHeld ? `, held ${bytesText(model.held[tick])}` : ""}`];
  const name = (kind) => kind === PENDING ? "pending" : kind === OTHER ? "others" : kinds.name(kinds.shown[kind]);
  const ranked = Array.from(sums.keys()).filter((kind) => sums[kind] > 0).sort((a, b) => sums[b] - sums[a]);
  for (const kind of ranked.slice(0, 6)) lines.push(`${bytesText(sums[kind])}  ${name(kind)}`);
  const { spans, notes } = model.told.marks;
  // The innermost interval is the shortest; lists of this length are walked in no time.
  const inside = spans.length < 20000 ? spans.filter(([from, to]) => from <= tick && tick <= to) : [];
  for (const [, , label] of inside.slice(-2)) lines.push(`in ${page.names[label]}`);
  const noted = notes[firstFrom(notes, tick)];
  if (noted?.[0] === tick) lines.push(page.names[noted[1]]);
  return lines;
}

function chartKey(event) {
  const step = event.shiftKey ? 1 : Math.max(1, tickOf(unitOf(view.moment) + unitPerPixel()) - view.moment);
  const back = event.shiftKey ? 1 : Math.max(1, view.moment - tickOf(unitOf(view.moment) - unitPerPixel()));
  const actions = {
    ArrowLeft: () => setMoment(view.moment - back, true),
    ArrowRight: () => setMoment(view.moment + step, true),
    PageUp: () => pan(-(view.high - view.low) / 2),
    PageDown: () => pan((view.high - view.low) / 2),
    Home: () => setMoment(0, true),
    End: () => setMoment(view.model.ticks - 1, true),
  };
  act(event, actions[event.key]);
}

function act(event, action) {
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  action();
}

function mapInput(surface) {
  const { canvas } = surface;
  const enlarge = (factor, y = surface.height / 2) => {
    const before = view.enlarged;
    view.enlarged = Math.max(1, Math.min(64, before * factor));
    view.scrolled = (view.scrolled + y) * view.enlarged / before - y;
    redraw(MAP);
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.shiftKey) { view.scrolled += event.deltaY || event.deltaX; redraw(MAP); return; }
    enlarge(Math.exp(-Math.max(-1, Math.min(1, event.deltaY / 300))), surface.place(event).y);
  }, { passive: false });
  canvas.addEventListener("dblclick", () => { view.enlarged = 1; view.scrolled = 0; redraw(MAP); });
  onDrag(canvas, (event) => {
    const start = surface.place(event), scrolled = view.scrolled;
    const hit = mapAt(start);
    if (hit) choose(hit.life);
    return { move: (one) => { view.scrolled = scrolled + start.y - surface.place(one).y; redraw(MAP); } };
  });
  canvas.addEventListener("pointermove", (event) => {
    const hit = event.buttons ? null : mapAt(surface.place(event));
    showTip(event, hit && (hit.life >= 0 ? blockTip(hit.life) : gapTip(hit)));
  });
  canvas.addEventListener("pointerleave", (event) => showTip(event, null));
  canvas.addEventListener("keydown", (event) => act(event, {
    ArrowLeft: () => choose(neighbourOnMap(-1)), ArrowRight: () => choose(neighbourOnMap(1)),
    ArrowUp: () => { view.scrolled -= 40; redraw(MAP); }, ArrowDown: () => { view.scrolled += 40; redraw(MAP); },
    "+": () => enlarge(1.4), "=": () => enlarge(1.4), "-": () => enlarge(1 / 1.4),
    0: () => { view.enlarged = 1; view.scrolled = 0; redraw(MAP); },
  }[event.key]));
}

function gapTip({ segment, gap }) {
  const { model } = view;
  const lines = gap ? [`free: ${bytesText(gap.size)}`, `address: ${model.addressText(gap.start)}`] : ["free"];
  lines.push(`${segment.expandable ? "expandable segment" : "segment"} of ${bytesText(segment.size)} at ${model.addressText(segment.start)}`);
  lines.push(`${bytesText(segment.used)} in use, largest free piece ${bytesText(segment.largest)}`);
  return lines;
}

function overviewInput(surface) {
  onDrag(surface.canvas, (event) => {
    const [first, last] = wholeAxis();
    const across = Math.max(1, surface.width - GUTTER.left - GUTTER.right);
    const unit = (one) => first + (surface.place(one).x - GUTTER.left) / across * (last - first);
    const half = (view.high - view.low) / 2;
    const at = (one) => setWindow(unit(one) - half, unit(one) + half);
    at(event);
    return { move: at };
  });
  surface.canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAbout((view.low + view.high) / 2, Math.exp(event.deltaY / 300));
  }, { passive: false });
}

/** Keys that work wherever nothing is being typed. */
function pageKeys(event) {
  const typing = /^(INPUT|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape") {
    if (view.found) { byId("search").value = ""; search(""); }
    choose(-1);
    event.target.blur?.();
    return;
  }
  if (typing || event.defaultPrevented) return;
  const about = () => {
    const unit = unitOf(view.moment);
    return unit >= view.low && unit <= view.high ? unit : (view.low + view.high) / 2;
  };
  const oom = view.model?.told.marks.ooms.at(-1);
  act(event, {
    "/": () => byId("search").focus(), "?": () => byId("keys").showModal(), t: switchTheme,
    0: () => setWindow(...wholeAxis()), p: () => setMoment(view.model.peak, true),
    o: oom && (() => setMoment(oom.tick, true)),
    "+": () => zoomAbout(about(), 1 / 1.5), "=": () => zoomAbout(about(), 1 / 1.5), "-": () => zoomAbout(about(), 1.5),
  }[event.key]);
}
