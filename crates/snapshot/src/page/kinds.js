"use strict";
// Categories: by tag, by the program's line, by stream, pool or size; and how much each holds.

/** Categories with a colour of their own; the others share one. */
const SHOWN = 10;
const OTHER = SHOWN, PENDING = SHOWN + 1, KINDS = SHOWN + 2;
/** Sums are kept every so many ticks. */
const SUM_STRIDE = 64;

const SIZE_CLASSES = [
  [2 ** 20, "small: up to 1 MiB"], [10 * 2 ** 20, "1 to 10 MiB"], [32 * 2 ** 20, "10 to 32 MiB"],
  [128 * 2 ** 20, "32 to 128 MiB"], [512 * 2 ** 20, "128 to 512 MiB"], [Infinity, "above 512 MiB"],
];

/** For each way to colour: the key of a block, and the name of a key. Keys are small numbers. */
const WAYS = {
  tag: {
    label: "tag",
    key: (model, life) => model.blocks.tag[life],
    name: (model, key) => key ? page.names[key] : "no tag",
  },
  line: {
    label: "program line",
    key: (model, life) => {
      const { stack, birth } = model.blocks;
      const site = page.stacks.site[stack[life]];
      return site >= 0 ? site + 2 : birth[life] < 0 ? 1 : 0;
    },
    name: (model, key) => key > 1 ? page.stacks.frameText(key - 2)
      : key ? "before the history, no stack" : "no stack (backward pass?)",
  },
  stream: {
    label: "stream",
    key: (model, life) => model.blocks.stream[life],
    name: (model, key) => model.told.streams[key],
  },
  pool: {
    label: "pool",
    key: (model, life) => model.blocks.pool[life],
    name: (model, key) => model.told.pools[key],
  },
  size: {
    label: "size",
    key: (model, life) => {
      const size = model.blocks.size[life];
      return SIZE_CLASSES.findIndex(([most]) => size <= most);
    },
    name: (model, key) => SIZE_CLASSES[key][1],
  },
};

class Kinds {
  constructor(model, way) {
    this.model = model;
    this.way = way;
    const { key, name } = WAYS[way];
    const { blocks } = model;
    const keys = this.keys = new Uint32Array(blocks.count);
    let last = 0;
    for (let life = 0; life < blocks.count; life++) {
      keys[life] = key(model, life);
      if (keys[life] > last) last = keys[life];
    }
    this.name = (one) => name(model, one);
    this.#rank(last + 1);
    this.#sum();
  }

  /** The keys that hold most at any time get the colours. */
  #rank(count) {
    const { model, keys } = this;
    const now = new Float64Array(count), most = new Float64Array(count);
    const { birth, size } = model.blocks;
    for (let life = 0; life < keys.length && birth[life] < 0; life++) {
      now[keys[life]] += size[life];
    }
    most.set(now);
    for (let tick = 0; tick < model.ticks; tick++) {
      const op = model.op[tick], life = model.act[tick];
      if (op === BORN) {
        const held = now[keys[life]] += size[life];
        if (held > most[keys[life]]) most[keys[life]] = held;
      } else if (op === DIED) now[keys[life]] -= size[life];
    }
    const ranked = Array.from(most.keys()).filter((key) => most[key] > 0);
    ranked.sort((a, b) => most[b] - most[a] || a - b);
    this.kindOfKey = new Uint8Array(count).fill(OTHER);
    // The steadiest lies lowest, so that what comes and goes does not shake the rest.
    const area = new Float64Array(count);
    const { death } = model.blocks;
    for (let life = 0; life < keys.length; life++) {
      area[keys[life]] += size[life] * (Math.min(death[life], model.ticks) - Math.max(0, birth[life]));
    }
    const steady = (key) => area[key] / most[key];
    this.shown = ranked.slice(0, SHOWN).sort((a, b) => steady(b) - steady(a) || a - b);
    this.shown.forEach((key, kind) => { this.kindOfKey[key] = kind; });
    this.kind = new Uint8Array(keys.length);
    for (let life = 0; life < keys.length; life++) this.kind[life] = this.kindOfKey[keys[life]];
  }

  /** Sums per category before every 64th tick. */
  #sum() {
    const { model } = this;
    const { birth, request, size } = model.blocks;
    const sums = new Float64Array(KINDS);
    for (let life = 0; life < this.kind.length && birth[life] < 0; life++) {
      sums[request[life] < 0 ? PENDING : this.kind[life]] += size[life];
    }
    this.kept = new Float64Array(Math.ceil(model.ticks / SUM_STRIDE) * KINDS);
    for (let tick = 0; tick < model.ticks; tick++) {
      if (tick % SUM_STRIDE === 0) this.kept.set(sums, tick / SUM_STRIDE * KINDS);
      this.#apply(tick, sums);
    }
  }

  /** What a tick does to the sums. */
  #apply(tick, sums) {
    const { op, act, blocks } = this.model;
    if (op[tick] === 0) return;
    const life = act[tick], size = blocks.size[life];
    if (op[tick] === BORN) sums[this.kind[life]] += size;
    else if (op[tick] === ASKED) {
      sums[this.kind[life]] -= size;
      sums[PENDING] += size;
    } else sums[blocks.request[life] < tick ? PENDING : this.kind[life]] -= size;
  }

  /** Bytes per category after a tick, into `sums`. */
  sumsAt(tick, sums) {
    const stride = Math.floor(tick / SUM_STRIDE);
    for (let kind = 0; kind < KINDS; kind++) sums[kind] = this.kept[stride * KINDS + kind];
    for (let one = stride * SUM_STRIDE; one <= tick; one++) this.#apply(one, sums);
    return sums;
  }

  /** Who holds how much after a tick, by key, largest first. */
  holdersAt(tick) {
    const { model, keys } = this;
    const holders = new Map();
    for (const life of model.aliveAt(tick)) {
      const pending = model.isPending(life, tick);
      const key = pending ? -1 : keys[life];
      let holder = holders.get(key);
      if (!holder) {
        const kind = pending ? PENDING : this.kindOfKey[key];
        holders.set(key, holder = { key, kind, bytes: 0, blocks: 0 });
      }
      holder.bytes += model.blocks.size[life];
      holder.blocks++;
    }
    return Array.from(holders.values()).sort((a, b) => b.bytes - a.bytes || a.key - b.key);
  }

  holderName(key) { return key < 0 ? "given back, still used by another stream" : this.name(key); }
}
