"use strict";
// Finding blocks: by words in tag, function or file, and by size.

const SIZE_TERM = /^(<=|>=|<|>|=)(.+)$/;

/** A test of a size for a term such as ">64MiB", or null for words. */
function sizeTest(term) {
  const parts = SIZE_TERM.exec(term);
  const bytes = parts ? parseBytes(parts[2]) : NaN;
  if (Number.isNaN(bytes)) return null;
  return {
    "<": (size) => size < bytes, "<=": (size) => size <= bytes, ">": (size) => size > bytes,
    ">=": (size) => size >= bytes, "=": (size) => size === bytes,
  }[parts[1]];
}

/** For each stack and each name whether a word is in it. */
function wordTest(word) {
  const { stacks, names } = page;
  const inName = Uint8Array.from(names, (name) => name.toLowerCase().includes(word) ? 1 : 0);
  const inStack = new Uint8Array(stacks.count);
  const frames = stacks.file.length;
  const inFrame = new Uint8Array(frames);
  for (let frame = 0; frame < frames; frame++) {
    inFrame[frame] = inName[stacks.file[frame]] | inName[stacks.code[frame]];
    // "model.py:40 forward", as frames are shown, can be pasted.
    if (!inFrame[frame] && word.includes(":")) {
      inFrame[frame] = stacks.frameText(frame).toLowerCase().includes(word) ? 1 : 0;
    }
  }
  for (let stack = 0; stack < stacks.count; stack++) {
    inStack[stack] = stacks.frames(stack).some((frame) => inFrame[frame]) ? 1 : 0;
  }
  return { inName, inStack };
}

/** Finds the blocks that meet every term; null where nothing is asked. */
function find(text) {
  const terms = text.trim().toLowerCase().replace(/([<>=])\s+/g, "$1").split(/\s+/).filter(Boolean);
  if (!terms.length) return null;
  const { model } = view;
  const { blocks } = model;
  const sizes = [], words = [];
  for (const term of terms) {
    const test = sizeTest(term);
    if (test) sizes.push(test); else words.push(wordTest(term));
  }
  const is = new Uint8Array(blocks.count);
  const matches = [];
  let bytes = 0;
  for (let life = 0; life < blocks.count; life++) {
    const fits = sizes.every((test) => test(blocks.size[life]))
      && words.every(({ inName, inStack }) => inStack[blocks.stack[life]] || inName[blocks.tag[life]]);
    if (!fits) continue;
    is[life] = 1;
    bytes += blocks.size[life];
    matches.push(life);
  }
  const live = foundOverTime(model, is);
  const most = live[new Pyramid(live, 1).find(0, model.ticks - 1)];
  return { text, is, bytes, matches, live, most, largest: largestOf(matches, blocks.size, 100) };
}

/** Bytes of the found blocks after each tick. */
function foundOverTime(model, is) {
  const { blocks, ticks, act, op } = model;
  const live = new Float64Array(ticks);
  let sum = 0;
  for (let life = 0; life < blocks.count && blocks.birth[life] < 0; life++) {
    if (is[life]) sum += blocks.size[life];
  }
  for (let tick = 0; tick < ticks; tick++) {
    if (op[tick] && is[act[tick]]) {
      if (op[tick] === BORN) sum += blocks.size[act[tick]];
      else if (op[tick] === DIED) sum -= blocks.size[act[tick]];
    }
    live[tick] = sum;
  }
  return live;
}

/** The largest so many of these blocks, largest first. */
function largestOf(lives, size, most) {
  const sizes = Float64Array.from(lives, (life) => size[life]).sort();
  const least = sizes.length > most ? sizes[sizes.length - most] : 0;
  const large = Array.from(lives).filter((life) => size[life] >= least);
  return large.sort((a, b) => size[b] - size[a] || a - b).slice(0, most);
}
