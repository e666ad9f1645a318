"use strict";
// What is looked at: the device, the stretch of history, the moment, the chosen block.

/** The parts that are drawn anew when something changed. */
const CHART = 1, BANDS = 2, MAP = 4, PANEL = 8, OVERVIEW = 16, ALL = 31;

const view = {
  model: null, kinds: null,
  /** The stretch of the axis that is shown: ticks, or microseconds since the first. */
  low: 0, high: 1, axis: "events",
  moment: 0, chosen: -1, found: null,
  /** How much the map is enlarged, and how far it is scrolled. */
  enlarged: 1, scrolled: 0,
  colours: [],
  dirty: 0, painters: [], drawn: {},
};

/** Draws these parts before the next frame. */
function redraw(parts) {
  if (!view.dirty) requestAnimationFrame(paint);
  view.dirty |= parts;
}

function paint() {
  const dirty = view.dirty;
  view.dirty = 0;
  if (!view.model) return;
  for (const [part, name, painter] of view.painters) {
    if (!(dirty & part)) continue;
    const begin = performance.now();
    const primitives = painter();
    view.drawn[name] = { ms: performance.now() - begin, primitives };
  }
}

/** The whole axis, from and to. */
function wholeAxis() {
  const { model } = view;
  if (view.axis === "events") return [0, model.ticks];
  return [0, Math.max(1, model.time[model.ticks - 1])];
}

/** Where a tick is on the axis. */
const unitOf = (tick) => view.axis === "events" ? tick : view.model.time[tick];

/** The last tick not after a place on the axis. */
function tickOf(unit) {
  const { model, axis } = view;
  const tick = axis === "events" ? Math.floor(unit) : model.tickAtTime(unit);
  return Math.max(0, Math.min(model.ticks - 1, tick));
}

/** Shows this stretch of the axis, kept within the whole. */
function setWindow(low, high) {
  const [first, last] = wholeAxis();
  const least = view.axis === "events" ? Math.min(16, last) : Math.min(16, last);
  const length = Math.min(last - first, Math.max(least, high - low));
  const middle = (low + high) / 2;
  view.low = Math.max(first, Math.min(last - length, middle - length / 2));
  view.high = view.low + length;
  redraw(CHART | BANDS | OVERVIEW);
}

/** Zooms about a place: factors below 1 come nearer. */
function zoomAbout(unit, factor) {
  const low = unit - (unit - view.low) * factor;
  const high = unit + (view.high - unit) * factor;
  const [first, last] = wholeAxis();
  // At the edge the other side gives way, so that the place stays where it is if it can.
  setWindow(Math.max(first, low), Math.min(last, high));
}

const pan = (units) => setWindow(view.low + units, view.high + units);

/** Sets the moment; with `follow`, the window moves so that it can be seen. */
function setMoment(tick, follow = false) {
  const { model } = view;
  const moment = Math.max(0, Math.min(model.ticks - 1, Math.round(tick)));
  if (follow) {
    const unit = unitOf(moment);
    if (unit < view.low || unit > view.high) {
      const half = (view.high - view.low) / 2;
      setWindow(unit - half, unit + half);
    }
  }
  if (moment === view.moment) return;
  view.moment = moment;
  redraw(CHART | BANDS | MAP | PANEL | OVERVIEW);
}

function choose(life) {
  view.chosen = life;
  redraw(CHART | BANDS | MAP | PANEL);
}

/** The colour of a category. */
const colourOf = (kind) => view.colours[kind];

/** The category a block is drawn in after a tick. */
function kindAt(life, tick) {
  return view.model.isPending(life, tick) ? PENDING : view.kinds.kind[life];
}

/** Whether a block is among those looked for, or none are. */
const stands = (life) => view.found === null || view.found.is[life] === 1;

/** Reads the colours that the style sheet sets for the theme. */
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const value = (name) => style.getPropertyValue(name).trim();
  view.theme = {};
  for (const name of ["page", "panel", "line", "faint", "text", "muted", "accent", "alarm", "free"]) {
    view.theme[name] = value(`--${name}`);
  }
  view.theme.panel = value("--panel");
  view.colours = [...value("--kinds").split(/\s+/), value("--other"), value("--pending")];
  // Pixels as they are, faded (for what is at times only), and nearly gone (not looked for).
  const { panel } = view.theme;
  view.pixels = view.colours.map((colour) => pixelOf(colour));
  view.faded = view.colours.map((colour) => pixelOf(mixed(colour, panel, 0.55)));
  view.dim = view.colours.map((colour) => pixelOf(mixed(colour, panel, 0.78)));
  view.edges = view.colours.map((colour) => pixelOf(mixed(colour, panel, 0.35)));
  view.panelPixel = pixelOf(panel);
}
