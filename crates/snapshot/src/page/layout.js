"use strict";
// The segments at a moment: who lies where, what is free between, and where each goes on the map.

const LINE = { height: 17, gap: 4, header: 18, between: 3 };

/** Pieces of one expandable segment that lie side by side are one stretch. */
function joined(model, pieces) {
  const { address, size, stream, pool, flags } = model.pieces;
  const ordered = pieces.sort((a, b) => address[a] - address[b]);
  const segments = [];
  for (const piece of ordered) {
    const before = segments.at(-1);
    const continues = before && before.expandable && flags[piece] & 2
      && before.start + before.size === address[piece]
      && before.stream === stream[piece] && before.pool === pool[piece];
    if (continues) before.size += size[piece];
    else {
      segments.push({
        start: address[piece], size: size[piece], stream: stream[piece], pool: pool[piece],
        small: (flags[piece] & 1) === 1, expandable: (flags[piece] & 2) === 2, piece,
        outside: false, blocks: [],
      });
    }
  }
  return segments;
}

/** A stretch made up for blocks that lie in no segment that is known. */
function outsideSegments(model, lives) {
  const { address, size, stream, pool } = model.blocks;
  const segments = [];
  for (const life of lives) {
    const before = segments.at(-1);
    const end = address[life] + size[life];
    // Blocks this far apart have hardly ever been in one segment.
    if (before && address[life] - (before.start + before.size) <= 2 * 2 ** 20
      && before.pool === pool[life] && before.stream === stream[life]) {
      before.size = Math.max(before.size, end - before.start);
      before.blocks.push(life);
    } else {
      segments.push({
        start: address[life], size: size[life], stream: stream[life], pool: pool[life],
        small: false, expandable: false, piece: -1, outside: true, blocks: [life],
      });
    }
  }
  return segments;
}

/** Free stretches of a segment, from the blocks in it; calls back with start and size. */
function eachGap(segment, blocks, callback) {
  let from = segment.start;
  for (const life of segment.blocks) {
    if (blocks.address[life] > from) callback(from, blocks.address[life] - from);
    from = Math.max(from, blocks.address[life] + blocks.size[life]);
  }
  const end = segment.start + segment.size;
  if (end > from) callback(from, end - from);
}

/** Everything that is known of memory after a tick. */
function memoryAt(tick) {
  const { model } = view;
  if (view.memory?.tick === tick && view.memory.model === model) return view.memory;
  const { blocks } = model;
  const { address } = blocks;
  const alive = Array.from(model.aliveAt(tick)).sort((a, b) => address[a] - address[b]);
  const segments = joined(model, model.piecesAt(tick));
  const outside = [];
  let at = 0;
  for (const life of alive) {
    while (at < segments.length && segments[at].start + segments[at].size <= address[life]) at++;
    if (at < segments.length && segments[at].start <= address[life]) segments[at].blocks.push(life);
    else outside.push(life);
  }
  segments.push(...outsideSegments(model, outside));
  const memory = {
    tick, model, segments, alive, held: 0, live: 0, pending: 0, asked: 0,
    free: 0, largest: { size: 0, start: 0, segment: null }, whole: 0,
  };
  for (const segment of segments) {
    segment.used = 0;
    segment.largest = 0;
    for (const life of segment.blocks) {
      segment.used += blocks.size[life];
      if (model.isPending(life, tick)) memory.pending += blocks.size[life];
      else memory.asked += blocks.requested[life];
    }
    memory.live += segment.used;
    if (segment.outside) continue;
    memory.held += segment.size;
    eachGap(segment, blocks, (start, size) => {
      memory.free += size;
      segment.largest = Math.max(segment.largest, size);
      if (size > memory.largest.size) memory.largest = { size, start, segment };
    });
    if (!segment.blocks.length) memory.whole += segment.size;
  }
  memory.groups = grouped(model, segments);
  view.memory = memory;
  return memory;
}

/** Segments by pool, stream and size class, the groups with most bytes first. */
function grouped(model, segments) {
  const groups = new Map();
  for (const segment of segments) {
    const { pool, stream, small, outside } = segment;
    const key = `${pool}/${stream}/${small}/${outside}`;
    let group = groups.get(key);
    if (!group) {
      const size = outside ? "segments not recorded" : small ? "small blocks" : "large blocks";
      const name = `${model.told.streams[stream]} · ${model.told.pools[pool]} · ${size}`;
      groups.set(key, group = { name, bytes: 0, used: 0, segments: [] });
    }
    group.bytes += segment.size;
    group.used += segment.used;
    group.segments.push(segment);
  }
  const all = Array.from(groups.values()).sort((a, b) => b.bytes - a.bytes);
  for (const group of all) {
    group.segments.sort((a, b) => b.size - a.size || a.start - b.start);
  }
  return all;
}

/**
 * Lays segments out like text: the longest first, each to scale; one that is longer than a line
 * goes on in the next, short ones share a line. Calls back with each strip; gives the height.
 */
function flow(groups, width, scale, strip) {
  let y = 0;
  for (const group of groups) {
    group.y = y;
    y += LINE.header;
    let x = 0;
    for (const segment of group.segments) {
      const length = Math.max(2, segment.size / scale);
      if (x > 0 && x + length > width) { x = 0; y += LINE.height + LINE.gap; }
      let from = 0;
      while (from < length) {
        const part = Math.min(width - x, length - from);
        strip?.(segment, x, y, part, from * segment.size / length, (from + part) * segment.size / length);
        from += part;
        x += part;
        if (length - from > 1e-6) { x = 0; y += LINE.height + LINE.gap; } else break;
      }
      x += LINE.between;
    }
    y += LINE.height + LINE.gap + 2;
  }
  return y;
}

/** The scale, in bytes per pixel, at which all fits the height; larger is smaller. */
function fittingScale(groups, width, height) {
  let most = 1;
  for (const group of groups) most = Math.max(most, group.bytes);
  // From one pixel for the largest group to one line for the largest segment.
  let low = Math.log(Math.max(1, most / (width * 400))), high = Math.log(most);
  for (let round = 0; round < 24; round++) {
    const middle = (low + high) / 2;
    if (flow(groups, width, Math.exp(middle), null) > height) low = middle; else high = middle;
  }
  return Math.exp(high);
}
