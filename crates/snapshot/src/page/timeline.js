"use strict";
// Memory over time: live bytes by category, what is held, and what the limits are.

const TIMELINE = { top: 20, bottom: 20, last: null };

/** The ceilings that are known, highest last. */
function ceilings() {
  const { told, held, ticks } = view.model;
  const found = [];
  if (told.total) found.push({ bytes: told.total, name: "device" });
  if (told.limit && told.limit !== told.total) found.push({ bytes: told.limit, name: "limit" });
  const oom = told.marks.ooms.at(-1);
  if (oom && !found.length) {
    // The device's size is unknown, but not how much this program could have had of it.
    found.push({ bytes: held[oom.tick] + oom.free, name: "held + free on the device when it failed" });
  } else if (!oom && !told.total && told.free) {
    found.push({ bytes: held[ticks - 1] + told.free, name: "held + free on the device" });
  }
  return found;
}

/** Fills the columns: solid up to the lowest point of each, faded up to its highest. */
function fillColumns(surface, axis, plotHeight, most) {
  const { model, kinds } = view;
  const { columns, rows, words } = surface.pixels(axis.width, plotHeight, 0);
  const { first, last } = axis.columns(columns);
  const sums = new Float64Array(KINDS);
  const tops = new Float64Array(columns);
  const paintStack = (column, tick, pixels) => {
    kinds.sumsAt(tick, sums);
    let bytes = 0, from = 0;
    for (let kind = 0; kind < KINDS; kind++) {
      if (sums[kind] <= 0) continue;
      bytes += sums[kind];
      const to = Math.min(rows, Math.round(bytes / most * rows));
      const pixel = pixels[kind];
      // Pending memory is hatched: nobody owns it any more.
      if (kind === PENDING) {
        for (let row = from; row < to; row++) {
          if ((row + column) % 4 < 2) words[(rows - 1 - row) * columns + column] = pixel;
        }
      } else for (let row = from; row < to; row++) words[(rows - 1 - row) * columns + column] = pixel;
      from = to;
    }
    return from;
  };
  let stacks = 0;
  for (let column = 0; column < columns; column++) {
    const high = model.highest.find(first[column], last[column]);
    const low = model.lowest.find(first[column], last[column]);
    tops[column] = model.live[high];
    if (high !== low) paintStack(column, high, view.faded);
    paintStack(column, low, view.pixels);
    stacks += high === low ? 1 : 2;
  }
  surface.put(axis.left, TIMELINE.top);
  return { first, last, columns, stacks, tops };
}

/** A line along the columns; `value` gives the bytes of a column. */
function strokeColumns(context, axis, columns, y, value) {
  context.beginPath();
  let before = NaN;
  for (let column = 0; column < columns; column++) {
    const height = y(value(column));
    const x = axis.left + column / columns * axis.width;
    if (column === 0) context.moveTo(x, height);
    else if (height !== before) { context.lineTo(x, before); context.lineTo(x, height); }
    before = height;
  }
  context.lineTo(axis.left + axis.width, before);
  context.stroke();
}

/** Steps as bands of shade, notes as marks above the plot. */
function drawMarks(context, axis, top, bottom) {
  const { model, theme } = view;
  const { notes } = model.told.marks;
  const edges = model.steps;
  context.fillStyle = theme.muted;
  context.textAlign = "center";
  const firstStep = model.stepAt(tickOf(view.low)), lastStep = model.stepAt(tickOf(view.high));
  const room = axis.width / Math.max(1, lastStep - firstStep + 1);
  if (edges.length && lastStep - firstStep < axis.width / 6) {
    const shift = model.stepsAreEnds ? 1 : 0;
    for (let step = firstStep; step <= lastStep; step++) {
      const begin = step - 1 - shift, from = begin >= 0 ? unitOf(edges[begin]) : wholeAxis()[0];
      const to = begin + 1 < edges.length ? unitOf(edges[begin + 1]) : wholeAxis()[1];
      const [x, end] = [axis.clamp(axis.x(from)), axis.clamp(axis.x(to))];
      if (step % 2 === 0) {
        context.globalAlpha = 0.5;
        context.fillStyle = theme.faint;
        context.fillRect(x, top, end - x, bottom - top);
        context.globalAlpha = 1;
      }
      context.fillStyle = theme.muted;
      const text = end - x > 56 ? `step ${step}` : String(step);
      if (room > 16 && end - x > 14 && step > 0) context.fillText(text, (x + end) / 2, top - 3);
    }
  }
  // One mark per pixel at most: what lies under another cannot be seen anyway.
  let drawn = 0;
  context.fillStyle = theme.muted;
  for (let x = Math.floor(axis.left); x <= axis.left + axis.width; x++) {
    const at = firstFrom(notes, tickOf(axis.unit(x)));
    if (at >= notes.length) break;
    const next = axis.xOfTick(notes[at][0]);
    if (next > axis.left + axis.width) break;
    x = Math.max(x, Math.floor(next));
    context.fillRect(x, top - 3, 1, 5);
    drawn++;
  }
  return drawn;
}

/** Intervals that the program marked, over the plot, with their names where there is room. */
function drawSpans(context, axis, top, bottom) {
  const { model, theme } = view;
  let drawn = 0, before = -1;
  context.fillStyle = theme.accent;
  context.textAlign = "left";
  for (const [from, to, name] of model.told.marks.spans) {
    const x = axis.x(unitOf(from)), end = axis.x(unitOf(to));
    if (x > axis.left + axis.width) break;
    if (end < axis.left || Math.round(x) === before) continue;
    before = Math.round(x);
    const begin = axis.clamp(x), width = Math.max(1.5, axis.clamp(end) - begin);
    context.globalAlpha = 0.1;
    if (width > 24) context.fillRect(begin, top, width, bottom - top);
    context.globalAlpha = 0.7;
    context.fillRect(begin, top, width, 3);
    context.globalAlpha = 1;
    // "Optimizer.step#AdamW.step": what comes last says it all.
    const text = page.names[name].split("#").at(-1);
    if (context.measureText(text).width < width - 8) context.fillText(text, begin + 4, top + 26);
    drawn++;
  }
  return drawn;
}

/** What failed, said where it failed. */
function drawFlag(context, axis, top) {
  const { told } = view.model;
  const oom = told.marks.ooms.at(-1);
  if (!oom) return;
  const x = axis.xOfTick(oom.tick);
  if (x < axis.left || unitOf(oom.tick) > view.high) return;
  const text = `out of memory: ${bytesText(oom.asked)} wanted`;
  context.font = `600 ${context.font}`;
  const width = context.measureText(text).width + 12;
  const left = Math.max(axis.left, Math.min(x - width, axis.left + axis.width - width));
  context.fillStyle = view.theme.alarm;
  context.fillRect(left, top - 17, width, 16);
  context.fillStyle = view.theme.panel;
  context.textAlign = "left";
  context.fillText(text, left + 6, top - 5);
}

function drawTimeline(surface) {
  const { model, theme, found } = view;
  const context = surface.begin();
  const axis = new Axis(surface);
  const top = TIMELINE.top, height = Math.max(10, surface.height - top - TIMELINE.bottom);
  const bottom = top + height;
  const limits = ceilings();
  const peak = Math.max(model.held[model.heldPeak], model.live[model.peak], 1);
  // A ceiling far above would press all the rest flat.
  const highest = Math.max(0, ...limits.map(({ bytes }) => bytes).filter((one) => one < 1.6 * peak));
  const most = Math.max(peak * 1.04, highest * 1.12);
  const y = (bytes) => top + height - bytes / most * height;
  TIMELINE.last = { axis, top, height, most };

  const filled = fillColumns(surface, axis, height, most);
  // The plot was put as pixels; what lies behind it is drawn behind it.
  context.globalCompositeOperation = "destination-over";
  const marks = drawMarks(context, axis, top, bottom);
  drawScale(context, axis, most, top, height);
  context.globalCompositeOperation = "source-over";

  const { first, last, columns, tops } = filled;
  const spans = drawSpans(context, axis, top, bottom);
  context.lineJoin = "round";
  context.strokeStyle = theme.text;
  context.globalAlpha = 0.55;
  strokeColumns(context, axis, columns, y, (column) => tops[column]);
  context.globalAlpha = 1;
  if (model.knowsHeld) {
    context.lineWidth = 1.6;
    strokeColumns(context, axis, columns, y,
      (column) => model.held[model.heldHighest.find(first[column], last[column])]);
  }
  if (found) {
    context.strokeStyle = theme.accent;
    context.lineWidth = 2;
    strokeColumns(context, axis, columns, y, (column) => found.live[last[column]]);
  }
  context.lineWidth = 1;
  for (const { bytes, name } of limits) {
    if (bytes > most) continue;
    context.setLineDash([6, 4]);
    context.strokeStyle = theme.alarm;
    context.beginPath();
    context.moveTo(axis.left, y(bytes));
    context.lineTo(axis.left + axis.width, y(bytes));
    context.stroke();
    context.setLineDash([]);
    context.fillStyle = theme.alarm;
    context.textAlign = "left";
    context.fillText(`${name}: ${bytesText(bytes)}`, axis.left + 6, y(bytes) - 4);
  }
  drawTimes(context, axis, bottom);
  drawLife(context, axis, bottom - 6);
  drawFailures(context, axis, top, bottom);
  drawMoment(context, axis, top, bottom);
  drawFlag(context, axis, top);
  return filled.stacks * KINDS + marks + spans + columns;
}

/** The whole history in a strip, with the window that is shown. */
function drawOverview(surface) {
  const { model, theme } = view;
  const context = surface.begin();
  const { width, height } = surface;
  const left = GUTTER.left, across = Math.max(1, width - left - GUTTER.right);
  const [first, last] = wholeAxis();
  const most = Math.max(model.held[model.heldPeak], model.live[model.peak], 1);
  const x = (unit) => left + (unit - first) / (last - first) * across;
  context.fillStyle = mixed(theme.muted, theme.panel, 0.45);
  for (let column = 0; column < across; column++) {
    const from = tickOf(first + column / across * (last - first));
    const to = Math.max(from, tickOf(first + (column + 1) / across * (last - first)));
    const bytes = model.live[model.highest.find(from, to)];
    const high = bytes / most * (height - 4);
    context.fillRect(left + column, height - 2 - high, 1, high);
  }
  context.fillStyle = theme.alarm;
  for (const { tick } of model.told.marks.ooms.slice(-100)) context.fillRect(x(unitOf(tick)) - 1, 0, 2, height);
  const [begin, end] = [x(view.low), x(view.high)];
  context.globalAlpha = 0.16;
  context.fillStyle = theme.accent;
  context.fillRect(begin, 0, Math.max(3, end - begin), height);
  context.globalAlpha = 1;
  context.fillRect(begin - 1, 0, 2, height);
  context.fillRect(Math.max(begin + 2, end - 1), 0, 2, height);
  context.fillStyle = theme.text;
  context.fillRect(x(unitOf(view.moment)), 0, 1, height);
  context.fillStyle = theme.muted;
  context.textAlign = "right";
  context.fillText("whole", left - 6, height / 2 + 4);
  return Math.ceil(across);
}
