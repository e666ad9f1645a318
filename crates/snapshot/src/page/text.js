"use strict";
// Words, numbers and elements. Everything that comes from a file becomes text, never markup.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/** Bytes in the largest unit that leaves at least one whole: "1.25 GiB", "512 B". */
function bytesText(bytes) {
  let unit = 0, scaled = Math.abs(bytes);
  while (scaled >= 1024 && unit < UNITS.length - 1) { scaled /= 1024; unit++; }
  const sign = bytes < 0 ? "−" : "";
  if (unit === 0) return `${sign}${Math.round(scaled)} bytes`;
  // Three digits tell enough; a trailing ".00" tells nothing.
  const digits = scaled >= 100 ? 0 : scaled >= 10 ? 1 : 2;
  return `${sign}${Number(scaled.toFixed(digits))} ${UNITS[unit]}`;
}

/** The bytes that "64MiB", "1.5 g" or "512" mean; NaN for anything else. */
function parseBytes(text) {
  const parts = /^(\d+(?:\.\d+)?)\s*(?:([kmgt]?)(?:i?b)?|bytes)$/i.exec(text.trim());
  if (!parts) return NaN;
  return Number(parts[1]) * 1024 ** " kmgt".indexOf((parts[2] || " ").toLowerCase());
}

/** 12345678 as "12,345,678". */
const countText = (number) => number.toLocaleString("en-US");

/** Microseconds as a length of time. */
function spanText(us) {
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 1e6) return `${Number((us / 1e3).toPrecision(3))} ms`;
  if (us < 6e7) return `${(us / 1e6).toFixed(us < 1e7 ? 3 : 2)} s`;
  const seconds = Math.round(us / 1e6);
  const two = (part) => String(part).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  return `${hours ? `${hours}:` : ""}${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
}

const percentText = (part) => `${(100 * part).toFixed(part < 0.0995 ? 1 : 0)} %`;

/** The last part of a path; `__init__.py` says nothing without the one before. */
function shortPath(path) {
  const parts = path.split(/[/\\]/);
  return parts.slice(/^(__|mod\.rs|lib\.rs|main\.rs)/.test(parts.at(-1)) ? -2 : -1).join("/");
}

/** An element with properties and children; strings become text. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "class") made.className = value;
    else if (name === "style") made.style.cssText = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

const byId = (id) => document.getElementById(id);

/** Step of a scale with about this many steps: 1, 2 or 5 times a power of the base. */
function niceStep(range, steps, base = 10) {
  const rough = Math.max(range / steps, Number.MIN_VALUE);
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const factors = base === 10 ? [1, 2, 5, 10] : [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
  return power * (factors.find((factor) => factor * power >= rough) ?? base);
}

/** "#rrggbb" as a pixel of ImageData on little-endian machines, which all that run this are. */
function pixelOf(hex, alpha = 255) {
  const value = parseInt(hex.slice(1), 16);
  const red = value >> 16 & 255, green = value >> 8 & 255, blue = value & 255;
  return (alpha << 24 | blue << 16 | green << 8 | red) >>> 0;
}

/** A colour between two: 0 is the first. */
function mixed(first, second, part) {
  const [a, b] = [first, second].map((hex) => parseInt(hex.slice(1), 16));
  let value = 0;
  for (const shift of [16, 8, 0]) {
    const one = a >> shift & 255, other = b >> shift & 255;
    value |= Math.round(one + (other - one) * part) << shift;
  }
  return `#${value.toString(16).padStart(6, "0")}`;
}
