"use strict";
// Words beside the pictures: the summary, the moment, the tables, the chosen block, the tip.

const panel = { tab: "holders" };

/** A line of facts; "peak live|3.1 GiB" has its second half in bold. */
function facts(into, list) {
  into.replaceChildren(...list.map(([name, value, more = ""]) =>
    element("span", {}, `${name} `, element("b", {}, value), more)));
}

/** What there is to say of the whole history. */
function showSummary() {
  const { model } = view;
  const { told } = model;
  const when = (tick) => told.traced ? ` at ${model.timeText(tick)}, event ${countText(tick)}` : "";
  const end = memoryAt(model.ticks - 1);
  const list = [["peak live", bytesText(model.live[model.peak]), when(model.peak)]];
  if (model.knowsHeld) {
    list.push(["peak held", bytesText(model.held[model.heldPeak]), when(model.heldPeak)]);
    if (!told.marks.ooms.length) {
      list.push(["in the end", bytesText(end.held), ` held, ${bytesText(end.live)} live`]);
    }
    list.push(["fragmentation", fragmentationText(end)]);
    list.push(["largest free block", bytesText(end.largest.size)]);
  }
  if (told.traced) {
    const length = model.time[model.ticks - 1];
    list.push(["history", `${countText(model.ticks)} events`, ` in ${spanText(length)}`]);
    if (told.dropped) list.push(["dropped before", countText(told.dropped)]);
  } else list.push(["history", "none recorded"]);
  if (told.total) list.push(["device", bytesText(told.total)]);
  if (told.limit && told.limit !== told.total) list.push(["limit", bytesText(told.limit)]);
  facts(byId("summary"), list);
  showFailure();
}

/** The part of the free memory that the largest free block is not. */
function fragmentationText({ free, largest }) {
  return free ? percentText(1 - largest.size / free) : "0 %";
}

/** Why the last failed request failed, as far as the map tells. */
function showFailure() {
  const { model } = view;
  const oom = model.told.marks.ooms.at(-1);
  const box = byId("failure");
  box.hidden = !oom;
  if (!oom) return;
  const { free, largest, whole } = memoryAt(oom.tick);
  const parts = [element("b", {}, `Out of memory at ${model.timeText(oom.tick)}: ${bytesText(oom.asked)} wanted.`)];
  const say = (text) => parts.push(` ${text}`);
  say(`The device had ${bytesText(oom.free)} free.`);
  if (model.knowsHeld) {
    say(`${bytesText(free)} were held and not in use, the largest piece ${bytesText(largest.size)}.`);
    const enough = free + oom.free >= oom.asked;
    if (largest.size >= oom.asked) say("A piece of that size was free, but not for this request: its stream or pool is another.");
    else if (enough) {
      parts.push(element("b", {}, ` Fragmentation: ${bytesText(free + oom.free)} would have been enough, but not in one piece.`));
    } else say(`Even in one piece, that is ${bytesText(oom.asked - free - oom.free)} too little: the memory was truly used up.`);
    if (whole) say(`${bytesText(whole)} lay in segments without any block.`);
  }
  box.replaceChildren(...parts);
}

/** Numbers of the moment. */
function showMoment() {
  const { model, moment } = view;
  const memory = memoryAt(moment);
  const fact = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));
  const list = [];
  if (model.told.traced) {
    const step = model.stepAt(moment);
    const where = element("div", { class: "wide" },
      element("dt", {}, element("b", {}, `event ${countText(moment)}`), step ? ` · step ${step}` : ""),
      element("dd", {}, `${model.timeText(moment)}, ${model.clockText(moment).slice(11)}`));
    list.push(where);
  }
  list.push(fact("live", bytesText(memory.live)));
  if (model.knowsHeld) list.push(fact("held", bytesText(memory.held)), fact("free in held", bytesText(memory.free)));
  list.push(fact("blocks", countText(memory.alive.length)));
  if (model.knowsHeld) {
    list.push(fact("largest free", bytesText(memory.largest.size)), fact("fragmentation", fragmentationText(memory)));
  }
  if (memory.pending) list.push(fact("pending", bytesText(memory.pending)));
  const rounding = memory.live - memory.pending - memory.asked;
  if (rounding > 0) list.push(fact("rounding", bytesText(rounding)));
  byId("moment").replaceChildren(...list);
  byId("spoken").textContent = `event ${moment}: ${bytesText(memory.live)} live, ${bytesText(memory.held)} held`;
}

/** A row that a key can press, too. */
function row(cells, action, chosen = false) {
  const made = element("tr", action ? { tabindex: "0" } : {}, ...cells);
  if (chosen) made.className = "chosen";
  if (action) {
    made.addEventListener("click", action);
    made.addEventListener("keydown", (event) => { if (event.key === "Enter") action(); });
  }
  return made;
}

const swatch = (kind) => element("td", { class: "swatch" }, element("i", { style: `background:${colourOf(kind)}` }));
const cell = (text, name = "", title = text) => element("td", { class: name, title }, text);

/** What a block is called in one line: its tag, or its line of the program. */
function blockName(life) {
  const { blocks } = view.model;
  const tag = page.names[blocks.tag[life]];
  const site = page.stacks.site[blocks.stack[life]];
  const line = site >= 0 ? page.stacks.frameText(site) : blocks.birth[life] < 0 ? "before the history" : "no stack";
  return tag ? `${tag} · ${line}` : line;
}

function holderRows() {
  const { kinds, moment } = view;
  const holders = kinds.holdersAt(moment);
  const most = Math.max(1, holders[0]?.bytes ?? 1);
  return holders.slice(0, 60).map(({ key, kind, bytes, blocks }) => {
    const name = kinds.holderName(key);
    const share = element("div", { class: "share", style: `width:${100 * bytes / most}%` });
    return row([
      swatch(kind), element("td", { class: "name", title: name }, name, share),
      cell(bytesText(bytes), "number"), cell(countText(blocks), "few", `${blocks} blocks`),
    ], null);
  });
}

function blockRow(life) {
  const { model, moment, chosen } = view;
  const { birth, death, size } = model.blocks;
  const alive = birth[life] <= moment && death[life] > moment;
  const kind = alive ? kindAt(life, moment) : view.kinds.kind[life];
  const state = !alive ? (birth[life] > moment ? "later" : "gone") : model.isPending(life, moment) ? "pending" : "live";
  return row([swatch(kind), cell(blockName(life), "name"), cell(bytesText(size[life]), "number"), cell(state, "few")],
    () => choose(life), life === chosen);
}

function showTable() {
  const { model, found, moment } = view;
  for (const tab of byId("tabs").children) tab.setAttribute("aria-selected", String(tab.dataset.tab === panel.tab));
  const table = element("table"), notes = [];
  if (panel.tab === "holders") {
    table.append(...holderRows());
    notes.push(`by ${WAYS[view.kinds.way].label}, at the moment`);
  } else if (panel.tab === "blocks") {
    const alive = model.aliveAt(moment);
    table.append(...largestOf(alive, model.blocks.size, 100).map(blockRow));
    notes.push(`${countText(Math.min(100, alive.length))} of ${countText(alive.length)} blocks at the moment`);
  } else if (found) {
    let now = 0, bytes = 0;
    for (const life of model.aliveAt(moment)) if (found.is[life]) { now++; bytes += model.blocks.size[life]; }
    notes.push(`${countText(found.matches.length)} blocks, ${bytesText(found.bytes)} in all; at the moment ${countText(now)} with ${bytesText(bytes)}; at most ${bytesText(found.most)} at a time`);
    table.append(...found.largest.map(blockRow));
  } else notes.push("Type in the box above: a tag, a function, a file, or a size such as >64MiB. What is found stays in colour; the blue line is its memory over time.");
  byId("table").replaceChildren(element("div", { class: "note" }, notes.join("")), table);
}

/** Facts of a block, for the tip and for the panel. */
function blockFacts(life) {
  const { model, moment } = view;
  const { birth, death, request, address, size, requested, stream, pool } = model.blocks;
  const alive = birth[life] <= moment && death[life] > moment;
  const end = Math.min(death[life], model.ticks - 1);
  const list = [
    ["address", model.addressText(address[life])],
    ["size", bytesText(size[life])],
    ["asked for", requested[life] === size[life] ? "the same" : `${countText(requested[life])} bytes`],
    ["state", alive ? model.isPending(life, moment) ? "pending" : "in use" : birth[life] > moment ? "not yet" : "freed"],
    ["where", `${model.told.streams[stream[life]]}, ${model.told.pools[pool[life]]}`],
  ];
  if (!model.told.traced) return list;
  const from = birth[life] < 0 ? "before the history" : `${model.timeText(birth[life])} (event ${countText(birth[life])})`;
  const to = death[life] >= model.ticks ? "still there in the end" : `${model.timeText(end)} (event ${countText(end)})`;
  list.push(["born", from], ["freed", to]);
  if (alive) {
    const age = model.time[moment] - model.time[Math.max(0, birth[life])];
    list.push(["age", `${birth[life] < 0 ? "over " : ""}${spanText(age)}`]);
  }
  if (request[life] < death[life] - 1 && death[life] < model.ticks && request[life] >= 0) {
    list.push(["given back", `${model.timeText(request[life])}, waited ${spanText(model.time[end] - model.time[request[life]])}`]);
  }
  return list;
}

function showBlock() {
  const box = byId("block"), { chosen, model } = view;
  if (chosen < 0) {
    box.replaceChildren(element("div", { class: "note", style: "padding:0" }, "Click a block on the map or in the charts: its stack and its life are shown."));
    return;
  }
  const { stack } = model.blocks;
  const site = page.stacks.site[stack[chosen]];
  const parts = [
    element("h3", {}, element("span", {}, blockName(chosen)), element("button", { onclick: () => choose(-1), title: "Let go (Esc)" }, "×")),
    element("div", { class: "facts" }, ...blockFacts(chosen).flatMap(([name, value]) => [`${name} `, element("b", {}, value), "  "])),
  ];
  const frames = Array.from(page.stacks.frames(stack[chosen])).reverse();
  const { names, stacks } = page;
  const lines = frames.map((frame) => element("li", frame === site ? { class: "program" } : {},
    element("b", {}, names[stacks.code[frame]] || "?"), ` ${names[stacks.file[frame]]}:${stacks.line[frame]}`));
  parts.push(lines.length ? element("ol", {}, ...lines) : element("div", { class: "note" }, "No stack was recorded."));
  box.replaceChildren(...parts);
}

function showPanel() {
  showMoment();
  showTable();
  showBlock();
  return 1;
}

/** A few lines beside the pointer, or none. */
function showTip(event, lines) {
  const tip = byId("tip");
  tip.hidden = !lines;
  if (!lines) return;
  tip.replaceChildren(...lines.map((line, at) => at ? element("div", {}, line) : element("b", {}, line)));
  const { offsetWidth: width, offsetHeight: height } = tip;
  const left = event.clientX + 16 + width > innerWidth ? event.clientX - width - 12 : event.clientX + 16;
  const top = event.clientY + 16 + height > innerHeight ? event.clientY - height - 12 : event.clientY + 16;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${Math.max(4, top)}px`;
}

function blockTip(life) {
  return [blockName(life), ...blockFacts(life).map(([name, value]) => `${name}: ${value}`)];
}
