"use strict";
// Canvases in CSS pixels, whatever the screen's; and what both charts of time have in common.

const GUTTER = { left: 66, right: 10 };

class Surface {
  constructor(id, parts) {
    this.canvas = byId(id);
    this.context = this.canvas.getContext("2d");
    this.width = this.height = 0;
    new ResizeObserver(() => { this.#fit(); redraw(parts); }).observe(this.canvas);
    this.#fit();
  }

  #fit() {
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    this.width = this.canvas.clientWidth;
    this.height = this.canvas.clientHeight;
    this.ratio = ratio;
    this.canvas.width = Math.max(1, Math.round(this.width * ratio));
    this.canvas.height = Math.max(1, Math.round(this.height * ratio));
  }

  /** Empty, in CSS pixels, with the page's type. */
  begin() {
    const { context } = this;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "alphabetic";
    context.lineWidth = 1;
    return context;
  }

  /** Where a pointer event is. */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** Pixels of a part of the canvas, all of one colour; whoever asks fills and puts them. */
  pixels(width, height, colour) {
    const columns = Math.max(1, Math.round(width * this.ratio));
    const rows = Math.max(1, Math.round(height * this.ratio));
    if (this.image?.width !== columns || this.image.height !== rows) {
      this.image = new ImageData(columns, rows);
      this.words = new Uint32Array(this.image.data.buffer);
    }
    this.words.fill(colour);
    return { columns, rows, words: this.words };
  }

  put(x, y) {
    this.context.putImageData(this.image, Math.round(x * this.ratio), Math.round(y * this.ratio));
  }
}

/** The axis of time over the width of a canvas. */
class Axis {
  constructor(surface) {
    this.left = GUTTER.left;
    this.width = Math.max(1, surface.width - GUTTER.left - GUTTER.right);
    this.scale = this.width / (view.high - view.low);
  }

  x(unit) { return this.left + (unit - view.low) * this.scale; }
  unit(x) { return view.low + (x - this.left) / this.scale; }

  /** A tick begins at its place and, in an axis of events, lasts for one. */
  xOfTick(tick) { return this.x(unitOf(tick)); }

  clamp(x) { return Math.max(this.left, Math.min(this.left + this.width, x)); }

  /** First and last tick of each column of pixels: what is drawn there is found between them. */
  columns(count) {
    const first = new Int32Array(count), last = new Int32Array(count);
    const step = (view.high - view.low) / count;
    for (let column = 0; column < count; column++) {
      const from = view.low + column * step;
      first[column] = tickOf(from);
      const end = from + step;
      const inside = view.axis === "events" ? Math.ceil(end) - 1 : tickOf(end);
      last[column] = Math.max(first[column], Math.min(view.model.ticks - 1, inside));
    }
    return { first, last };
  }
}

/** Horizontal lines with their bytes, for a chart that is this high. */
function drawScale(context, axis, most, top, height) {
  const step = niceStep(most, Math.max(2, height / 34), 1024);
  context.textAlign = "right";
  for (let bytes = 0; bytes <= most; bytes += step) {
    const y = Math.round(top + height - bytes / most * height) + 0.5;
    context.strokeStyle = view.theme.faint;
    context.beginPath();
    context.moveTo(axis.left, y);
    context.lineTo(axis.left + axis.width, y);
    context.stroke();
    context.fillStyle = view.theme.muted;
    if (y > 8) context.fillText(bytes ? bytesText(bytes) : "0", axis.left - 6, y + 3.5);
  }
}

/** Labels of the axis of time at the foot of a chart. */
function drawTimes(context, axis, y) {
  const { model } = view;
  const step = niceStep(view.high - view.low, axis.width / 110);
  context.textAlign = "center";
  context.fillStyle = view.theme.muted;
  context.strokeStyle = view.theme.line;
  const first = Math.ceil(view.low / step) * step;
  for (let unit = first; unit <= view.high; unit += step) {
    const x = Math.round(axis.x(unit)) + 0.5;
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(x, y + 4);
    context.stroke();
    const text = view.axis === "events" ? countText(Math.round(unit)) : `+${spanText(unit)}`;
    if (x > axis.left + 20 && x < axis.left + axis.width - 20) context.fillText(text, x, y + 14);
  }
  context.textAlign = "left";
  context.fillText(view.axis === "events" ? "event" : model.clockText(0).slice(11, 19), 6, y + 14);
}

/** The line at the moment, through a whole chart. */
function drawMoment(context, axis, top, bottom) {
  const x = axis.xOfTick(view.moment) + (view.axis === "events" ? Math.min(axis.scale, 6) / 2 : 0);
  if (x < axis.left || x > axis.left + axis.width) return;
  context.strokeStyle = view.theme.text;
  context.beginPath();
  context.moveTo(Math.round(x) + 0.5, top);
  context.lineTo(Math.round(x) + 0.5, bottom);
  context.stroke();
  context.fillStyle = view.theme.text;
  context.beginPath();
  context.moveTo(x - 4, top);
  context.lineTo(x + 5, top);
  context.lineTo(x + 0.5, top + 6);
  context.fill();
}

/** The failed requests, as lines through a whole chart. */
function drawFailures(context, axis, top, bottom) {
  context.strokeStyle = view.theme.alarm;
  let before = -9;
  for (const { tick } of view.model.told.marks.ooms) {
    const x = Math.round(Math.min(axis.xOfTick(tick), axis.left + axis.width - 1)) + 0.5;
    if (x < axis.left || x - before < 2 || unitOf(tick) > view.high) continue;
    before = x;
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(x, top);
    context.lineTo(x, bottom);
    context.stroke();
  }
  context.lineWidth = 1;
}

/** The chosen block's life, as a bracket. */
function drawLife(context, axis, y) {
  const { model, chosen } = view;
  if (chosen < 0) return;
  const { birth, death } = model.blocks;
  const from = axis.clamp(birth[chosen] < 0 ? axis.left : axis.xOfTick(birth[chosen]));
  const never = death[chosen] >= model.ticks;
  const to = axis.clamp(never ? axis.left + axis.width : axis.xOfTick(death[chosen]));
  context.fillStyle = view.theme.accent;
  context.fillRect(from, y - 1.5, Math.max(2, to - from), 3);
  if (birth[chosen] >= 0) context.fillRect(from, y - 5, 2, 10);
  if (!never) context.fillRect(to - 2, y - 5, 2, 10);
}

/** Text that is cut to a width, with an ellipsis. */
function fitText(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
    else high = middle - 1;
  }
  return low ? `${text.slice(0, low)}…` : "";
}
