"use strict";
// The columns that the page carries: base64 of numbers, seven bits to the byte.

/** The bytes of an element's base64 text; the text is let go. */
function bytesOf(id) {
  const holder = byId(id);
  const text = holder.textContent;
  holder.remove();
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at++) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** Reads numbers one after the other. */
class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }

  next() {
    const bytes = this.bytes;
    let byte = bytes[this.at++], number = byte & 127, shift = 7;
    while (byte > 127 && shift < 28) {
      byte = bytes[this.at++];
      number |= (byte & 127) << shift;
      shift += 7;
    }
    if (byte <= 127) return number;
    // Above 28 bits the machine's integers end; numbers go on to 2^53.
    let factor = 2 ** 28;
    while (byte > 127) {
      byte = bytes[this.at++];
      number += (byte & 127) * factor;
      factor *= 128;
    }
    return number;
  }

  /** A difference: even numbers are up, odd ones down. */
  step() {
    const coded = this.next();
    return coded % 2 ? -(coded + 1) / 2 : coded / 2;
  }
}

/** Stacks by number: frames innermost first; made when asked for, as few are looked at. */
class Stacks {
  constructor(bytes, names) {
    const reader = new Reader(bytes);
    const count = reader.next();
    this.names = names;
    this.site = new Int32Array(count);
    const starts = new Uint32Array(count + 1), all = [];
    let before = [];
    for (let stack = 0; stack < count; stack++) {
      this.site[stack] = reader.next() - 1;
      const frames = before.slice(0, reader.next());
      for (let own = reader.next(); own > 0; own--) frames.push(reader.next());
      for (const frame of frames) all.push(frame);
      starts[stack + 1] = all.length;
      before = frames;
    }
    this.starts = starts;
    this.all = Uint32Array.from(all);
    const frames = reader.next();
    this.file = new Uint32Array(frames);
    this.code = new Uint32Array(frames);
    this.line = new Float64Array(frames);
    for (let frame = 0; frame < frames; frame++) {
      this.file[frame] = reader.next();
      this.code[frame] = reader.next();
      this.line[frame] = reader.next();
    }
  }

  get count() { return this.site.length; }

  /** Numbers of a stack's frames, outermost first. */
  frames(stack) { return this.all.subarray(this.starts[stack], this.starts[stack + 1]); }

  /** A frame in words. */
  frameText(frame) {
    const [file, code] = [this.names[this.file[frame]], this.names[this.code[frame]]];
    return file ? `${shortPath(file)}:${this.line[frame]} ${code}` : code || "unknown";
  }
}

/** The columns of one device; ticks are numbered from 0, −1 is before, `ticks` is never. */
function decodeDevice(bytes, told) {
  const reader = new Reader(bytes);
  const { ticks, lives, pieces } = told;
  const unit = 2 ** told.shift;
  const time = new Float64Array(ticks);
  for (let tick = 0, sum = 0; tick < ticks; tick++) time[tick] = sum += reader.next();

  const columns = (count) => ({
    count,
    birth: new Int32Array(count), request: new Int32Array(count), death: new Int32Array(count),
    address: new Float64Array(count), size: new Float64Array(count),
    requested: new Float64Array(count), stream: new Uint32Array(count),
    pool: new Uint32Array(count), stack: new Uint32Array(count), tag: new Uint32Array(count),
    flags: new Uint8Array(count),
  });
  let birth = 0, address = 0;
  const later = (from) => {
    const coded = reader.next();
    return coded === 0 ? ticks + 1 : from + coded - 1;
  };
  const place = (into, at) => {
    address += reader.step();
    into.address[at] = address * unit;
    into.stream[at] = reader.next();
    into.pool[at] = reader.next();
  };
  const blocks = columns(lives);
  for (let at = 0; at < lives; at++) {
    birth += reader.next();
    const request = later(birth);
    const death = later(request > ticks ? birth : request);
    blocks.birth[at] = birth - 1;
    blocks.request[at] = request - 1;
    blocks.death[at] = death - 1;
    place(blocks, at);
    const size = blocks.size[at] = reader.next() * unit;
    blocks.requested[at] = size - reader.step();
    blocks.stack[at] = reader.next();
    blocks.tag[at] = reader.next();
  }
  birth = 0;
  address = 0;
  const held = columns(pieces);
  for (let at = 0; at < pieces; at++) {
    birth += reader.next();
    held.birth[at] = birth - 1;
    held.death[at] = later(birth) - 1;
    place(held, at);
    held.size[at] = reader.next() * unit;
    held.flags[at] = reader.next();
    held.stack[at] = reader.next();
  }
  return { time, blocks, held };
}
