"use strict";
// One device: what every tick changed, and which blocks and segments there were after any tick.

/** Ops of a tick. */
const BORN = 1, ASKED = 2, DIED = 3;
/** About how many block numbers the alive-lists may hold together. */
const ALIVE_BUDGET = 4e6;

/** The first of these, in order of their ticks, that is not before a tick. */
function firstFrom(list, tick) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle][0] < tick) low = middle + 1; else high = middle;
  }
  return low;
}

class Model {
  constructor(told, bytes) {
    const { time, blocks, held } = decodeDevice(bytes, told);
    this.told = told;
    this.time = time;
    this.blocks = blocks;
    this.pieces = held;
    this.ticks = told.ticks;
    this.base = BigInt(told.base);
    this.#fillTicks();
    this.#fillHeld();
    this.#keepAlive();
    this.highest = new Pyramid(this.live, 1);
    this.lowest = new Pyramid(this.live, -1);
    this.heldHighest = new Pyramid(this.held, 1);
    this.peak = this.highest.find(0, this.ticks - 1);
    this.heldPeak = this.heldHighest.find(0, this.ticks - 1);
    this.#nameSteps();
    this.cache = { tick: -1, alive: null };
  }

  /** Which block each tick is about, what happened to it, and the bytes live after it. */
  #fillTicks() {
    const { ticks, blocks } = this;
    this.act = new Int32Array(ticks).fill(-1);
    this.op = new Uint8Array(ticks);
    let before = 0;
    for (let life = 0; life < blocks.count; life++) {
      const { birth, request, death } = blocks;
      if (birth[life] < 0) before += blocks.size[life];
      for (const [op, tick] of [[BORN, birth[life]], [ASKED, request[life]], [DIED, death[life]]]) {
        if (tick >= 0 && tick < ticks) { this.act[tick] = life; this.op[tick] = op; }
      }
    }
    this.live = new Float64Array(ticks);
    let sum = before;
    for (let tick = 0; tick < ticks; tick++) {
      const op = this.op[tick];
      if (op === BORN) sum += blocks.size[this.act[tick]];
      else if (op === DIED) sum -= blocks.size[this.act[tick]];
      this.live[tick] = sum;
    }
  }

  /** Bytes held from the device after each tick. */
  #fillHeld() {
    const { ticks, pieces } = this;
    const held = this.held = new Float64Array(ticks);
    for (let piece = 0; piece < pieces.count; piece++) {
      const { birth, death, size } = pieces;
      held[Math.max(0, birth[piece])] += size[piece];
      if (death[piece] < ticks) held[death[piece]] -= size[piece];
    }
    for (let tick = 1; tick < ticks; tick++) held[tick] += held[tick - 1];
    this.knowsHeld = pieces.count > 0;
  }

  /** Lists of the blocks alive before every so-many-th tick, from which others are near. */
  #keepAlive() {
    const { ticks, blocks, act, op } = this;
    let alive = [];
    for (let life = 0; life < blocks.count && blocks.birth[life] < 0; life++) alive.push(life);
    let sum = 0, now = alive.length;
    for (let tick = 0; tick < ticks; tick++) {
      if (op[tick] === BORN) now++; else if (op[tick] === DIED) now--;
      sum += now;
    }
    this.stride = 1024;
    while (this.stride * ALIVE_BUDGET < sum) this.stride *= 2;
    this.lists = [];
    for (let tick = 0; tick < ticks; tick += this.stride) {
      this.lists.push(Int32Array.from(alive));
      const end = Math.min(ticks, tick + this.stride);
      for (let one = tick; one < end; one++) if (op[one] === BORN) alive.push(act[one]);
      alive = alive.filter((life) => blocks.death[life] >= end);
    }
  }

  /** The blocks that are not free after a tick, in order of birth. */
  aliveAt(tick) {
    if (this.cache.tick === tick) return this.cache.alive;
    const { blocks, act, op } = this;
    const list = Math.floor(tick / this.stride);
    const alive = [];
    for (const life of this.lists[list]) if (blocks.death[life] > tick) alive.push(life);
    for (let one = list * this.stride; one <= tick; one++) {
      if (op[one] === BORN && blocks.death[act[one]] > tick) alive.push(act[one]);
    }
    this.cache = { tick, alive };
    return alive;
  }

  /** Every block that is alive at some time from one tick to another, in order of birth. */
  aliveWithin(first, last) {
    const within = Array.from(this.aliveAt(first));
    for (let tick = first + 1; tick <= last; tick++) {
      if (this.op[tick] === BORN) within.push(this.act[tick]);
    }
    return within;
  }

  /** The pieces of segments that are held after a tick. */
  piecesAt(tick) {
    const { birth, death, count } = this.pieces;
    const held = [];
    for (let piece = 0; piece < count && birth[piece] <= tick; piece++) {
      if (death[piece] > tick) held.push(piece);
    }
    return held;
  }

  isPending(life, tick) { return this.blocks.request[life] <= tick; }

  /** The last tick not later than a time, in microseconds since the first. */
  tickAtTime(us) {
    let low = 0, high = this.ticks;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.time[middle] <= us) low = middle + 1; else high = middle;
    }
    return Math.max(0, low - 1);
  }

  /** An address as the debugger shows it. */
  addressText(offset) { return `0x${(this.base + BigInt(Math.round(offset))).toString(16)}`; }

  /** A tick's time of day, and how long after the first tick it is. */
  timeText(tick) { return `+${spanText(this.time[tick])}`; }

  clockText(tick) {
    const date = new Date((this.told.start_us + this.time[tick]) / 1000);
    return Number.isNaN(date.getTime()) ? "" : date.toISOString().replace("T", " ").slice(0, 23);
  }

  /**
   * Where steps begin: at notes that say so, or else where an optimizer's step ended.
   * Only their places are kept; the chart shades every second one.
   */
  #nameSteps() {
    const { notes, spans } = this.told.marks;
    const isStep = (name) => /^(step|iteration|iter|epoch)\b/i.test(page.names[name]);
    const noted = notes.filter(([, name]) => isStep(name)).map(([tick]) => tick);
    const begun = spans.filter(([, , name]) => isStep(name)).map(([from]) => from);
    const ended = spans.filter(([, , name]) => /^Optimizer\.step/.test(page.names[name]))
      .map(([, to]) => to);
    const places = noted.length ? noted : begun.length ? begun : ended;
    this.steps = Float64Array.from(new Set(places)).sort();
    this.stepsAreEnds = !noted.length && !begun.length && ended.length > 0;
  }

  /** The number of the step that a tick is in, from 1, or 0 before any step is known. */
  stepAt(tick) {
    let low = 0, high = this.steps.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.steps[middle] <= tick) low = middle + 1; else high = middle;
    }
    return this.stepsAreEnds ? low + 1 : low;
  }
}
