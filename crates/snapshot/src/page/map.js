"use strict";
// The segment map: every byte held at the moment, to scale, coloured like the charts.

const MAP_BOX = { left: 10, margin: 2, strips: [], height: 0, hatch: null };

/** A pattern of slanted lines for memory that waits to become free. */
function hatchOf(context, ratio) {
  const tile = document.createElement("canvas");
  const side = Math.round(6 * ratio);
  tile.width = tile.height = side;
  const drawing = tile.getContext("2d");
  drawing.fillStyle = mixed(view.colours[PENDING], view.theme.panel, 0.6);
  drawing.fillRect(0, 0, side, side);
  drawing.strokeStyle = view.colours[PENDING];
  drawing.lineWidth = 1.6 * ratio;
  drawing.beginPath();
  for (const shift of [-side, 0, side]) {
    drawing.moveTo(shift - 1, side + 1);
    drawing.lineTo(shift + side + 1, -1);
  }
  drawing.stroke();
  const pattern = context.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(1 / ratio));
  return pattern;
}

/** The first block of a segment that ends after an offset. */
function firstBlockAfter(segment, blocks, offset) {
  let low = 0, high = segment.blocks.length;
  while (low < high) {
    const middle = (low + high) >> 1, life = segment.blocks[middle];
    if (blocks.address[life] + blocks.size[life] - segment.start <= offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Black or white, whichever can be read on a colour. */
function inkOn(colour) {
  const value = parseInt(colour.slice(1), 16);
  const light = 0.3 * (value >> 16 & 255) + 0.59 * (value >> 8 & 255) + 0.11 * (value & 255);
  return light > 125 ? "#101418" : "#ffffff";
}

/** One line's worth of a segment; gives how many rectangles it took. */
function drawStrip(context, strip, memory) {
  const { blocks } = view.model;
  const { segment, x, y, width, from, to } = strip;
  const scale = width / Math.max(1, to - from);
  const height = LINE.height;
  context.fillStyle = segment.outside ? view.theme.faint : view.theme.free;
  context.fillRect(x, y, width, height);
  let drawn = 1, right = -1;
  let free = from;
  const labelGap = (end) => {
    const wide = (end - free) * scale;
    if (segment.outside || wide < 40) return;
    context.fillStyle = view.theme.muted;
    const text = bytesText(end - free);
    if (context.measureText(text).width > wide - 6) return;
    context.fillText(text, x + (free - from) * scale + wide / 2, y + height - 5);
  };
  context.textAlign = "center";
  for (let at = firstBlockAfter(segment, blocks, from); at < segment.blocks.length; at++) {
    const life = segment.blocks[at];
    const begin = blocks.address[life] - segment.start, end = begin + blocks.size[life];
    if (begin >= to) break;
    if (begin > free) labelGap(Math.min(begin, to));
    free = Math.max(free, end);
    const left = x + Math.max(0, (begin - from) * scale);
    const stop = x + Math.min(width, (end - from) * scale);
    // What would not change a pixel is not drawn.
    if (stop - right < 0.4 && life !== view.chosen) continue;
    const wide = Math.max(0.8, stop - left);
    const kind = kindAt(life, memory.tick);
    const shown = stands(life);
    context.fillStyle = kind === PENDING ? MAP_BOX.hatch
      : shown ? colourOf(kind) : mixed(colourOf(kind), view.theme.panel, 0.78);
    context.fillRect(left, y, wide > 3 ? wide - 0.7 : wide, height);
    right = stop;
    drawn++;
    if (wide > 40 && kind !== PENDING) {
      context.fillStyle = shown ? inkOn(colourOf(kind)) : view.theme.muted;
      const text = bytesText(blocks.size[life]);
      const fits = context.measureText(text).width < wide - 6;
      if (fits) context.fillText(text, left + wide / 2, y + height - 5);
    }
  }
  if (free < to) labelGap(to);
  return drawn;
}

/** Frames of the chosen block and of the largest free one. */
function drawFrames(context, memory, failed) {
  const { blocks } = view.model;
  const frame = (start, size, segment, colour, thick) => {
    for (const strip of MAP_BOX.strips) {
      if (strip.segment !== segment) continue;
      const begin = start - segment.start, scale = strip.width / Math.max(1, strip.to - strip.from);
      const left = Math.max(strip.from, begin), right = Math.min(strip.to, begin + size);
      if (left >= right) continue;
      const x = strip.x + (left - strip.from) * scale, wide = Math.max(3, (right - left) * scale);
      context.strokeStyle = colour;
      context.lineWidth = thick;
      context.strokeRect(x + thick / 2, strip.y + thick / 2, Math.max(1, wide - thick), LINE.height - thick);
    }
    context.lineWidth = 1;
  };
  const { largest } = memory;
  if (largest.segment) {
    frame(largest.start, largest.size, largest.segment, failed ? view.theme.alarm : view.theme.muted, failed ? 2 : 1);
  }
  if (view.chosen >= 0) {
    const life = view.chosen;
    const segment = memory.segments.find((one) => one.blocks.includes(life));
    if (segment) frame(blocks.address[life], blocks.size[life], segment, view.theme.text, 2);
  }
}

/** What a failed request wanted, to the same scale, so that the eye can look for room. */
function drawWanted(context, asked, scale, width, across) {
  const { alarm, panel } = view.theme;
  const y = MAP_BOX.margin + 1, wide = Math.min(width, Math.max(3, asked / scale));
  context.fillStyle = panel;
  context.fillRect(0, 0, across, LINE.height + 6);
  context.strokeStyle = context.fillStyle = alarm;
  context.lineWidth = 1.5;
  context.setLineDash([5, 3]);
  context.strokeRect(MAP_BOX.left + 0.75, y + 0.75, wide - 1.5, LINE.height - 1.5);
  context.setLineDash([]);
  context.lineWidth = 1;
  const text = `wanted: ${bytesText(asked)}`;
  const inside = wide > context.measureText(text).width + 12;
  context.textAlign = "left";
  context.fillText(text, MAP_BOX.left + (inside ? 6 : wide + 6), y + LINE.height - 5);
}

function drawMap(surface) {
  const context = surface.begin();
  const memory = memoryAt(view.moment);
  const failed = view.model.told.marks.ooms.find(({ tick }) => tick === memory.tick);
  const top = MAP_BOX.margin + (failed ? LINE.height + 6 : 0);
  const width = Math.max(40, surface.width - 2 * MAP_BOX.left), height = surface.height - top - MAP_BOX.margin;
  const scale = fittingScale(memory.groups, width, height) / view.enlarged;
  const strips = MAP_BOX.strips = [];
  MAP_BOX.height = flow(memory.groups, width, scale, (segment, x, y, part, from, to) => {
    strips.push({ segment, x: x + MAP_BOX.left, y, width: part, from, to });
  });
  view.scrolled = Math.max(0, Math.min(view.scrolled, MAP_BOX.height - height));
  MAP_BOX.hatch = hatchOf(context, surface.ratio);
  for (const strip of strips) strip.y += top - view.scrolled;
  let drawn = 0;
  for (const strip of strips) {
    if (strip.y > surface.height || strip.y + LINE.height < 0) continue;
    drawn += drawStrip(context, strip, memory);
  }
  context.textAlign = "left";
  for (const group of memory.groups) {
    const y = group.y + top - view.scrolled + 13;
    if (y < 0 || y > surface.height + 12) continue;
    context.fillStyle = view.theme.muted;
    const known = !group.segments[0]?.outside;
    const many = group.segments.length;
    const counted = known ? `${countText(many)} segment${many === 1 ? "" : "s"}, ${bytesText(group.bytes)} held, ` : "";
    const text = `${group.name}:  ${counted}${bytesText(group.used)} in use`;
    context.fillText(fitText(context, text, width), MAP_BOX.left, y);
  }
  drawFrames(context, memory, failed);
  if (failed) drawWanted(context, failed.asked, scale, width, surface.width);
  const pixel = bytesText(scale);
  byId("map-note").textContent = memory.segments.length
    ? `a pixel is ${pixel}; grey is free${memory.largest.size ? `, framed the largest free block, ${bytesText(memory.largest.size)}` : ""}`
    : "nothing is held";
  return drawn;
}

/** What lies at a place of the map: a block, a gap, or nothing. */
function mapAt({ x, y }) {
  const { blocks } = view.model;
  for (const strip of MAP_BOX.strips) {
    if (y < strip.y || y > strip.y + LINE.height || x < strip.x || x > strip.x + strip.width) continue;
    const { segment, from, to, width } = strip;
    const offset = from + (x - strip.x) / width * (to - from);
    const at = firstBlockAfter(segment, blocks, offset);
    const life = segment.blocks[at];
    if (life !== undefined && blocks.address[life] - segment.start <= offset) return { segment, life };
    let gap = null;
    eachGap(segment, blocks, (start, size) => {
      if (offset >= start - segment.start && offset < start + size - segment.start) gap = { start, size };
    });
    return { segment, life: -1, gap };
  }
  return null;
}

/** The next block on the map, in the order it is drawn; from the first where none is chosen. */
function neighbourOnMap(direction) {
  const order = memoryAt(view.moment).groups.flatMap((group) => group.segments.flatMap(({ blocks }) => blocks));
  if (!order.length) return -1;
  const at = order.indexOf(view.chosen);
  if (at < 0) return direction > 0 ? order[0] : order.at(-1);
  return order[(at + direction + order.length) % order.length];
}
