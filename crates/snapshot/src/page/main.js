"use strict";
// Brings the page to life.

const surfaces = {};
const page = window.freeboard = { header: null, names: [], stacks: null, models: [], ready: false, loadMs: 0, view };

/** The device's model; its columns are decoded when it is first looked at. */
function modelOf(number) {
  page.models[number] ??= new Model(page.header.devices[number], bytesOf(`device-${number}`));
  return page.models[number];
}

/** The way to colour that tells most: tags where most blocks have one, else lines, else sizes. */
function bestWay(model) {
  const { tag, stack, count } = model.blocks;
  let tags = 0, stacks = 0;
  for (let life = 0; life < count; life++) {
    if (tag[life]) tags++;
    if (stack[life]) stacks++;
  }
  return 2 * tags > count ? "tag" : stacks ? "line" : tags ? "tag" : "size";
}

function showDevice(number) {
  const model = modelOf(number);
  view.model = model;
  view.chosen = -1;
  view.found = null;
  view.enlarged = 1;
  view.scrolled = 0;
  document.body.classList.toggle("no-history", !model.told.traced);
  const oom = model.told.marks.ooms.at(-1);
  // The failure is what most people came for; otherwise the peak, where history tells of one.
  view.moment = oom ? oom.tick : model.told.traced ? model.peak : model.ticks - 1;
  colourBy(model.way ??= bestWay(model));
  byId("kind").value = model.way;
  setWindow(...wholeAxis());
  showJumps();
  search(byId("search").value);
  redraw(ALL);
  showSummary();
}

function colourBy(way) {
  const { model } = view;
  model.way = way;
  model.kinds ??= {};
  view.kinds = model.kinds[way] ??= new Kinds(model, way);
  redraw(ALL);
}

/** Buttons that go to moments worth seeing. */
function showJumps() {
  const { model } = view;
  const jump = (text, tick, name = "") => element("button", { class: name, onclick: () => setMoment(tick, true) }, text);
  const list = [];
  if (model.told.traced) {
    const oom = model.told.marks.ooms.at(-1);
    if (oom) list.push(jump("out of memory", oom.tick, "alarm"));
    list.push(jump("peak", model.peak), jump("end", model.ticks - 1));
  }
  byId("jumps").replaceChildren(...list);
}

function search(text) {
  view.found = find(text);
  if (view.found) panel.tab = "found";
  else if (panel.tab === "found") panel.tab = "holders";
  byId("timeline-note").textContent = timelineNote();
  redraw(ALL);
}

function timelineNote() {
  const { model, found } = view;
  const line = model.knowsHeld ? "black line: held from the device; " : "";
  return `${line}area: live, solid always, faint at times${found ? "; blue: found" : ""}`.replace("black", themeNow() === "dark" ? "white" : "black");
}

const darkness = matchMedia("(prefers-color-scheme: dark)");
const themeNow = () => document.documentElement.dataset.theme;

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "light" : "dark";
  readColours();
  if (!view.model) return;
  byId("timeline-note").textContent = timelineNote();
  redraw(ALL);
}

let themeChosen = false;
function switchTheme() {
  themeChosen = true;
  setTheme(themeNow() === "dark" ? "light" : "dark");
}

function connect() {
  const { header } = page;
  const device = byId("device"), kind = byId("kind");
  header.devices.forEach((told, number) => device.append(element("option", { value: number }, told.name)));
  byId("device-field").hidden = header.devices.length < 2;
  for (const [way, { label }] of Object.entries(WAYS)) kind.append(element("option", { value: way }, label));
  device.addEventListener("change", () => showDevice(Number(device.value)));
  kind.addEventListener("change", () => colourBy(kind.value));
  byId("axis").addEventListener("change", (event) => {
    // The same ticks stay in view.
    const [first, last] = [tickOf(view.low), tickOf(view.high)];
    const whole = view.high - view.low >= wholeAxis()[1];
    view.axis = event.target.value;
    setWindow(...(whole ? wholeAxis() : [unitOf(first), unitOf(last)]));
  });
  let waiting = 0;
  byId("search").addEventListener("input", (event) => {
    clearTimeout(waiting);
    waiting = setTimeout(() => search(event.target.value), 120);
  });
  byId("reset").addEventListener("click", () => {
    view.enlarged = 1;
    view.scrolled = 0;
    redraw(MAP);
    setWindow(...wholeAxis());
  });
  byId("theme").addEventListener("click", switchTheme);
  byId("help").addEventListener("click", () => byId("keys").showModal());
  for (const tab of byId("tabs").children) {
    tab.addEventListener("click", () => { panel.tab = tab.dataset.tab; redraw(PANEL); });
  }
  darkness.addEventListener("change", () => { if (!themeChosen) setTheme(darkness.matches ? "dark" : "light"); });
  document.addEventListener("keydown", pageKeys);
}

function start() {
  const begin = performance.now();
  page.header = JSON.parse(byId("header").textContent);
  page.names = page.header.names;
  page.stacks = new Stacks(bytesOf("stacks"), page.names);
  byId("title").textContent = page.header.title;
  setTheme(darkness.matches ? "dark" : "light");
  connect();
  if (!page.header.devices.length) {
    byId("summary").textContent = "This snapshot is empty: it names no device, no segment and no event.";
    document.body.classList.add("no-history");
    page.ready = true;
    return;
  }
  for (const [name, part] of [["timeline", CHART], ["overview", OVERVIEW], ["bands", BANDS], ["map", MAP]]) {
    surfaces[name] = new Surface(name, part);
  }
  view.painters = [
    [CHART, "timeline", () => drawTimeline(surfaces.timeline)], [OVERVIEW, "overview", () => drawOverview(surfaces.overview)],
    [BANDS, "bands", () => drawBands(surfaces.bands)], [MAP, "map", () => drawMap(surfaces.map)], [PANEL, "panel", showPanel],
  ];
  chartInput(surfaces.timeline, null);
  chartInput(surfaces.bands, bandAt);
  mapInput(surfaces.map);
  overviewInput(surfaces.overview);
  showDevice(0);
  requestAnimationFrame(() => {
    page.loadMs = performance.now() - begin;
    page.ready = true;
  });
}

start();
