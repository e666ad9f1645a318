"use strict";
// Blocks over time: each a band from birth to death, the older below; the largest are exact.

/** How many blocks are drawn one by one; all others together are the band on top. */
const EXACT = 12000;
/** A stretch with fewer ticks is looked at block by block; a longer one at the largest only. */
const NEAR = 40000;
const BANDS_BOX = { top: 6, bottom: 4, last: null };

/** The largest bands of the whole history, in order of birth; found once. */
function largestOfAll(model) {
  if (!model.largest) {
    const all = Int32Array.from({ length: model.blocks.count }, (_, life) => life);
    model.largest = keepLargest(all, 0, model.ticks);
  }
  return model.largest;
}

/** Those of these blocks whose bands between two ticks are largest, in the order they come in. */
function keepLargest(lives, first, last) {
  if (lives.length <= EXACT) return Int32Array.from(lives);
  const { birth, death, size } = view.model.blocks;
  const areas = Float64Array.from(lives, (life) =>
    size[life] * (Math.min(death[life], last) - Math.max(birth[life], first)));
  const least = areas.slice().sort()[areas.length - EXACT];
  return Int32Array.from(lives).filter((_, at) => areas[at] > least);
}

/** The blocks that this window draws one by one. */
function exactBlocks() {
  const { model } = view;
  const [first, last] = [tickOf(view.low), tickOf(view.high)];
  if (last - first > NEAR) return largestOfAll(model);
  const { exact } = BANDS_BOX;
  if (exact && exact.model === model && exact.first === first && exact.last === last) {
    return exact.lives;
  }
  const within = model.aliveWithin(first, last);
  const lives = keepLargest(within, first, last);
  BANDS_BOX.exact = { model, first, last, lives, every: lives.length === within.length };
  return lives;
}

/** Calls back with each exact block alive after a tick and its bytes below; ticks only rise. */
class Sweep {
  constructor(lives, blocks) {
    this.lives = lives;
    this.blocks = blocks;
    this.next = 0;
    this.alive = [];
  }

  at(tick, callback) {
    const { lives, blocks, alive } = this;
    while (this.next < lives.length && blocks.birth[lives[this.next]] <= tick) {
      alive.push(lives[this.next++]);
    }
    let kept = 0, below = 0;
    for (let at = 0; at < alive.length; at++) {
      const life = alive[at];
      if (blocks.death[life] <= tick) continue;
      alive[kept++] = life;
      callback?.(life, below);
      below += blocks.size[life];
    }
    alive.length = kept;
    return below;
  }
}

function drawBands(surface) {
  const { model, chosen } = view;
  const context = surface.begin();
  const axis = new Axis(surface);
  const { top } = BANDS_BOX, height = Math.max(10, surface.height - top - BANDS_BOX.bottom);
  const { columns, rows, words } = surface.pixels(axis.width, height, 0);
  const { first, last } = axis.columns(columns);
  const lives = exactBlocks();
  const most = Math.max(1, model.live[model.highest.find(first[0], last[columns - 1])]) * 1.04;
  const sweep = new Sweep(lives, model.blocks);
  const scale = rows / most;
  const outline = [];
  const accent = pixelOf(view.theme.accent), other = view.faded[OTHER];
  let spans = 0, tickBefore = -1;
  for (let column = 0; column < columns; column++) {
    if (column && first[column] === first[column - 1] && last[column] === last[column - 1]) {
      for (let row = 0; row < rows; row++) {
        words[row * columns + column] = words[row * columns + column - 1];
      }
      continue;
    }
    // The fullest moment of the column, so that no peak is lost.
    const tick = Math.max(tickBefore, model.highest.find(first[column], last[column]));
    tickBefore = tick;
    let from = 0;
    const bytes = sweep.at(tick, (life, below) => {
      const to = Math.round((below + model.blocks.size[life]) * scale);
      const begin = Math.round(below * scale);
      if (life === chosen) outline.push([column, begin, Math.max(to, begin + 1)]);
      if (to <= from && to <= begin) return;
      spans++;
      const kind = kindAt(life, tick);
      const pixel = (stands(life) ? view.pixels : view.dim)[kind];
      for (let row = from; row < to; row++) words[(rows - 1 - row) * columns + column] = pixel;
      // A line between bands that are thick enough to have one.
      if (to - begin > 3) words[(rows - to) * columns + column] = view.edges[kind];
      from = to;
    });
    const end = Math.min(rows, Math.round(Math.max(bytes, model.live[tick]) * scale));
    for (let row = from; row < end; row++) words[(rows - 1 - row) * columns + column] = other;
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
  const all = model.blocks.count;
  const inView = tickOf(view.high) - tickOf(view.low) <= NEAR;
  const every = inView ? BANDS_BOX.exact.every : lives.length === all;
  byId("bands-note").textContent = every ? "every block"
    : `the largest ${countText(lives.length)} ${inView ? "in view" : "of all"}; the rest grey on top`;
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
  let hit = -1;
  new Sweep(last.lives, model.blocks).at(tick, (life, below) => {
    if (bytes >= below && bytes < below + model.blocks.size[life]) hit = life;
  });
  return hit;
}
