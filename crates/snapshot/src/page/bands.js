"use strict";
// Blocks over time: each a band from birth to death, the older below; the largest are exact.

/** How many blocks are drawn one by one; all others together are the band on top. */
const EXACT = 12000;
/** A stretch with fewer ticks is looked at block by block; a longer one at the largest only. */
const NEAR = 40000;
const BANDS_BOX = { top: 6, bottom: 4, last: null };

/** Those of these blocks whose bands between two ticks are largest, in the order they come in. */
function keepLargest(lives, first, last) {
  if (lives.length <= EXACT) return Int32Array.from(lives);
  const { birth, death, size } = view.model.blocks;
  const areas = Float64Array.from(lives, (life) =>
    size[life] * (Math.min(death[life], last) - Math.max(birth[life], first)));
  const least = areas.slice().sort()[areas.length - EXACT];
  let equal = EXACT;
  for (const area of areas) if (area > least) equal--;
  return Int32Array.from(lives).filter((_, at) => areas[at] > least || areas[at] === least && equal-- > 0);
}

/** The blocks that this window draws one by one, in order of birth, and whether they are all. */
function exactBlocks() {
  const { model } = view;
  let [first, last] = [tickOf(view.low), tickOf(view.high)];
  const near = last - first <= NEAR;
  if (!near) [first, last] = [0, model.ticks];
  const known = near ? BANDS_BOX.exact : model.largest;
  if (known && known.model === model && known.first === first && known.last === last) return known;
  const within = near ? model.aliveWithin(first, last) : Int32Array.from(model.blocks.birth.keys());
  const lives = keepLargest(within, first, last);
  const every = lives.length === within.length;
  const exact = { model, first, last, lives, every, near, orders: ordersOf(lives) };
  if (near) BANDS_BOX.exact = exact; else model.largest = exact;
  return exact;
}

/** Blocks in the order in which they die, and in which those that wait were given back. */
function ordersOf(lives) {
  const { death, request } = view.model.blocks;
  const { ticks } = view.model;
  const sorted = (times, those) => those.sort((a, b) => times[a] - times[b] || a - b);
  return {
    deaths: sorted(death, lives.filter((life) => death[life] < ticks)),
    // Nearly all are free in the next tick; only the others are seen to wait.
    requests: sorted(request, lives.filter((life) => request[life] >= 0
      && request[life] < ticks && request[life] + 1 < death[life])),
  };
}

/**
 * Goes through time and keeps the exact blocks alive, lowest first, with where each ends on top.
 * From one tick to the next little changes, and what lies below the lowest change stays as it is.
 */
class Sweep {
  constructor(lives, orders, blocks) {
    Object.assign(this, { lives, blocks, deaths: orders.deaths, requests: orders.requests });
    this.born = this.died = this.asked = 0;
    this.alive = [];
    this.tops = [];
  }

  /** Where a block is among those alive. */
  place(life) {
    const { alive } = this;
    let low = 0, high = alive.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (alive[middle] < life) low = middle + 1; else high = middle;
    }
    return low;
  }

  /** Goes on to a tick, which is not before the last; gives the lowest place that changed. */
  to(tick) {
    const { lives, blocks, deaths, requests, alive, tops } = this;
    let lowest = alive.length;
    while (this.born < lives.length && blocks.birth[lives[this.born]] <= tick) {
      alive.push(lives[this.born++]);
    }
    for (; this.died < deaths.length && blocks.death[deaths[this.died]] <= tick; this.died++) {
      lowest = Math.min(lowest, this.place(deaths[this.died]));
    }
    for (; this.asked < requests.length && blocks.request[requests[this.asked]] <= tick; this.asked++) {
      lowest = Math.min(lowest, this.place(requests[this.asked]));
    }
    let kept = lowest, top = lowest ? tops[lowest - 1] : 0;
    for (let at = lowest; at < alive.length; at++) {
      const life = alive[at];
      if (blocks.death[life] <= tick) continue;
      alive[kept] = life;
      tops[kept++] = top += blocks.size[life];
    }
    alive.length = tops.length = kept;
    return lowest;
  }
}

function drawBands(surface) {
  const { model, chosen } = view;
  const context = surface.begin();
  const axis = new Axis(surface);
  const { top } = BANDS_BOX, height = Math.max(10, surface.height - top - BANDS_BOX.bottom);
  const { columns, rows, words } = surface.pixels(axis.width, height, 0);
  const { first, last } = axis.columns(columns);
  const { lives, orders, every } = exactBlocks();
  const most = Math.max(1, model.live[model.highest.find(first[0], last[columns - 1])]) * 1.04;
  const sweep = new Sweep(lives, orders, model.blocks);
  const scale = rows / most;
  const outline = [];
  const accent = pixelOf(view.theme.accent), other = view.faded[OTHER];
  let spans = 0, tick = -1;
  for (let column = 0; column < columns; column++) {
    // The fullest moment of the column, so that no peak is lost.
    const next = Math.max(tick, model.highest.find(first[column], last[column]));
    const lowest = next === tick ? sweep.alive.length : sweep.to(next);
    tick = next;
    const { alive, tops } = sweep;
    let from = lowest ? Math.min(rows, Math.round(tops[lowest - 1] * scale)) : 0;
    for (let row = rows - from; row < rows && column; row++) {
      words[row * columns + column] = words[row * columns + column - 1];
    }
    for (let at = lowest; at < alive.length; at++) {
      const life = alive[at], to = Math.min(rows, Math.round(tops[at] * scale));
      if (to <= from) continue;
      spans++;
      const kind = kindAt(life, tick);
      const pixel = (stands(life) ? view.pixels : view.dim)[kind];
      const edge = to - from > 3 ? view.edges[kind] : pixel;
      for (let row = from; row < to; row++) words[(rows - 1 - row) * columns + column] = pixel;
      words[(rows - to) * columns + column] = edge;
      from = to;
    }
    const end = Math.min(rows, Math.round(model.live[tick] * scale));
    for (let row = from; row < end; row++) words[(rows - 1 - row) * columns + column] = other;
    const at = chosen < 0 ? -1 : sweep.place(chosen);
    if (alive[at] === chosen) {
      const begin = Math.round((at ? tops[at - 1] : 0) * scale);
      outline.push([column, begin, Math.max(begin + 1, Math.round(tops[at] * scale))]);
    }
  }
  for (const [column, begin, end] of outline) {
    for (let row = begin; row < Math.min(rows, end); row++) words[(rows - 1 - row) * columns + column] = accent;
  }
  surface.put(axis.left, top);
  context.globalCompositeOperation = "destination-over";
  drawScale(context, axis, most, top, height);
  context.globalCompositeOperation = "source-over";
  drawFailures(context, axis, top, top + height);
  drawMoment(context, axis, top, top + height);
  BANDS_BOX.last = { axis, top, height, most, lives };
  byId("bands-note").textContent = every ? "every block"
    : `the largest ${countText(lives.length)} ${tickOf(view.high) - tickOf(view.low) <= NEAR ? "in view" : "of all"}; the rest grey on top`;
  return spans;
}

/** The block at a place of the chart, or −1. */
function bandAt({ x, y }) {
  const { last } = BANDS_BOX;
  if (!last || x < last.axis.left || x > last.axis.left + last.axis.width) return -1;
  const { model } = view;
  const bytes = (last.top + last.height - y) / last.height * last.most;
  const step = 1 / last.axis.scale, unit = last.axis.unit(x);
  const tick = model.highest.find(tickOf(unit), Math.max(tickOf(unit), tickOf(unit + step * 0.999)));
  const { birth, death, size } = model.blocks;
  let top = 0;
  for (const life of last.lives) {
    if (birth[life] > tick) break;
    if (death[life] <= tick) continue;
    top += size[life];
    if (bytes >= 0 && bytes < top) return life;
  }
  return -1;
}
