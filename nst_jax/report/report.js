"use strict";

const study = JSON.parse(document.getElementById("data").textContent);
const { lanes, grid } = study;
const axes = Object.keys(study.axes);
const $ = id => document.getElementById(id);

/** An HTML element; children are elements or texts, and a text is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function format(value) {
  if (value === null || value === undefined) return "–";
  if (Array.isArray(value)) return value.map(format).join(", ");
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(4)));
}

const spaced = name => name.replaceAll("_", " ");

/** A name that may break after its punctuation, in a box of its own. */
function makeLabel(text) {
  return make("span", { className: "label" }, ...text.split(/(?<=[_,;=/])/).flatMap(part => [part, make("wbr")]));
}

/* ---- Head ---- */

function fillHead() {
  const counts = new Map();
  for (const lane of lanes) counts.set(lane.status, (counts.get(lane.status) ?? 0) + 1);
  const states = [...counts].map(([status, count]) => `${count} ${status}`).join(", ");
  const sizes = axes.map(name => `${study.axes[name].length} × ${name}`).join(", ");
  $("summary").textContent = [`${lanes.length} ${lanes.length === 1 ? "lane" : "lanes"}: ${states}`, sizes].filter(Boolean).join(" · ");
  if (counts.has("to come")) {
    document.querySelector(".files").textContent = "The study is under way: load this page again to see more of it. lanes.csv, the contact sheet and the loss plot are written at its end.";
  }
  for (const [kind, images] of [["content", study.contents], ["style", study.styles]]) {
    for (const [name, image] of Object.entries(images)) {
      if (!image) continue;
      const picture = make("img", { src: image.thumbnail, alt: `${kind} image ${name}` });
      $("inputs").append(make("figure", {}, make("a", { href: image.url, target: "_blank", rel: "noopener" }, picture),
        make("figcaption", {}, `${kind}: ${name}`)));
    }
  }
}

/* ---- Thumbnails ---- */

function makeThumbnail(index) {
  const lane = lanes[index], failed = lane.status === "failed";
  const button = make("button", { type: "button", className: "thumbnail", title: lane.name, ariaLabel: [lane.name, lane.status, lane.reason].filter(Boolean).join(", ") });
  const reason = lane.reason ? [make("span", { className: `reason${failed ? " failed" : ""}` }, lane.reason)] : [];
  if (lane.image) {
    button.append(make("img", { src: lane.image.thumbnail, alt: "", ...shrunk(lane.image) }));
    if (failed) button.append(make("span", { className: "badge failed" }, "failed"));
    button.append(...reason);
  } else {
    const content = study.contents[lane.settings.content];
    const { width, height } = shrunk(content ?? { width: 1, height: 1 });
    const blank = make("span", { className: "blank" }, make("strong", { className: failed ? "failed" : "quiet" }, lane.status), ...reason);
    blank.style.width = `${width}px`;
    blank.style.aspectRatio = width / height;
    button.append(blank);
  }
  button.addEventListener("click", () => openViewer(index));
  return lights(button, [index]);
}

/** The shape an image has as a thumbnail. */
function shrunk({ width, height }) {
  const factor = 192 / Math.max(width, height);
  return { width: Math.round(width * factor), height: Math.round(height * factor) };
}

function fillGrid() {
  if (grid.captions) {
    const captions = grid.captions.flat();
    $("grid").append(make("div", { className: "flow" }, ...grid.rows.flat().map(index =>
      make("figure", {}, makeThumbnail(index), make("figcaption", {}, makeLabel(captions[index]))))));
    return;
  }
  const labelled = grid.row_labels.some(Boolean);
  const table = make("table", { className: "sheet" });
  if (grid.column_labels.some(Boolean)) {
    const head = table.createTHead().insertRow();
    if (labelled) head.append(make("td"));
    for (const label of grid.column_labels) head.append(make("th", { scope: "col" }, makeLabel(label)));
  }
  const body = table.createTBody();
  grid.rows.forEach((indices, row) => {
    const line = body.insertRow();
    if (labelled) line.append(make("th", { scope: "row" }, makeLabel(grid.row_labels[row])));
    for (const index of indices) line.append(make("td", {}, makeThumbnail(index)));
  });
  $("grid").append(make("div", { className: "scroll" }, table));
}

/* ---- Loss curves ---- */

const named = lanes.length <= 12; // of more lanes, colours tell the first axis' values apart, and the legend names those
const groups = named ? lanes.map(lane => lane.name) : axes.length ? study.axes[axes[0]].filter((label, i, all) => all.indexOf(label) === i) : [];
const groupOf = lanes.map((lane, index) => named ? index : groups.indexOf(lane.coordinates[axes[0]]));

function colourOf(group) {
  const hue = 255 - 300 * group / Math.max(groups.length, 1);
  return `oklch(${named && group % 2 ? "calc(var(--tone) + 0.12)" : "var(--tone)"} 0.14 ${(hue + 360) % 360})`;
}

function makeSvg(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Round values from `low` to `high`, for a logarithmic axis. */
function logTicks(low, high) {
  const decades = Math.log10(high / low), ticks = [];
  const steps = decades > 2.5 ? [1] : decades > 0.8 ? [1, 2, 5] : null;
  if (!steps) return linearTicks(low, high, 5);
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const step of steps) ticks.push(step * 10 ** power);
  }
  return ticks.filter(tick => tick >= low && tick <= high);
}

function linearTicks(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high; tick += step) ticks.push(tick);
  return ticks;
}

const plot = $("plot");
let places = []; // of each lane, the points [x, y, step, loss] on the plot

function drawPlot() {
  const width = plot.clientWidth, height = plot.clientHeight;
  const points = lanes.map(({ curve: [steps, losses] }) => steps.map((step, i) => [step, losses[i]]).filter(([, loss]) => loss > 0));
  const all = points.flat();
  plot.replaceChildren();
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  plot.classList.toggle("thin", !named);
  if (!all.length) return;
  const bounds = all.reduce(([low, high], [, loss]) => [Math.min(low, loss), Math.max(high, loss)], [Infinity, 0]);
  const low = bounds[0] / 1.05, high = bounds[1] * 1.05;
  const last = all.reduce((most, [step]) => Math.max(most, step), 2);
  const box = { left: 52, right: width - 12, top: 8, bottom: height - 38 };
  const toX = step => box.left + (step - 1) / (last - 1) * (box.right - box.left);
  const toY = loss => box.bottom - Math.log(loss / low) / Math.log(high / low) * (box.bottom - box.top);
  for (const tick of logTicks(low, high)) {
    plot.append(makeSvg("line", { class: "grid", x1: box.left, x2: box.right, y1: toY(tick), y2: toY(tick) }),
      makeSvg("text", { x: box.left - 8, y: toY(tick) + 4, "text-anchor": "end" }, format(tick)));
  }
  for (const tick of linearTicks(1, last, Math.max(2, Math.floor(width / 80))).filter(Number.isInteger)) {
    plot.append(makeSvg("text", { x: toX(tick), y: box.bottom + 18, "text-anchor": "middle" }, String(tick)));
  }
  for (const [step, size] of study.sizes) {
    plot.append(makeSvg("line", { class: "size", x1: toX(step - 0.5), x2: toX(step - 0.5), y1: box.top, y2: box.bottom }),
      makeSvg("text", { x: toX(step - 0.5) + 4, y: box.top + 10 }, `${size} px`));
  }
  plot.append(makeSvg("text", { x: (box.left + box.right) / 2, y: height - 4, "text-anchor": "middle" }, "step"));
  places = points.map(lane => lane.map(([step, loss]) => [toX(step), toY(loss), step, loss]));
  places.forEach((lane, index) => {
    const style = `stroke: ${colourOf(groupOf[index])}; color: ${colourOf(groupOf[index])}`;
    const shared = { class: "curve", "data-lane": index, style };
    const line = lane.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L");
    if (lane.length > 1) plot.append(makeSvg("path", { ...shared, d: `M${line}` }));
    else if (lane.length) plot.append(makeSvg("circle", { ...shared, r: 3, cx: lane[0][0], cy: lane[0][1] }));
  });
}

/** The nearest curve's lane and point within 30 pixels of a place. */
function nearest(x, y) {
  let best = { distance: 30 };
  places.forEach((lane, index) => {
    for (const point of lane) {
      const distance = Math.hypot(point[0] - x, point[1] - y);
      if (distance < best.distance) best = { distance, index, point };
    }
  });
  return best;
}

/** Shows some lanes, and no others, wherever they appear: on the plot, in the table, among the thumbnails. */
function highlight(indices, point) {
  const lit = new Set(indices);
  plot.classList.toggle("lit", lit.size > 0);
  for (const element of document.querySelectorAll("[data-lane]")) element.classList.toggle("lit", lit.has(Number(element.dataset.lane)));
  for (const curve of plot.querySelectorAll(".curve.lit")) plot.append(curve); // on top of the others
  const lane = lanes[indices[0]];
  if (lit.size === 1) $("readout").textContent = point ? `${lane.name}: ${format(point[3])} at step ${point[2]}` : `${lane.name}: best ${format(lane.best_loss)}`;
  else $("readout").textContent = lit.size ? `${lit.size} lanes` : "Point at a curve, a row or a legend entry to single it out.";
}

/** Makes an element light up its lanes under the pointer and in focus. */
function lights(element, indices) {
  if (indices.length === 1) element.dataset.lane = indices[0];
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, () => highlight(indices));
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, () => highlight([]));
  return element;
}

function fillPlot() {
  new ResizeObserver(drawPlot).observe(plot);
  for (const event of ["pointermove", "pointerdown"]) {
    plot.addEventListener(event, ({ clientX, clientY }) => {
      const frame = plot.getBoundingClientRect();
      const { index, point } = nearest(clientX - frame.left, clientY - frame.top);
      highlight(index === undefined ? [] : [index], point);
    });
  }
  plot.addEventListener("pointerleave", () => highlight([]));
  if (!named && axes.length) $("legend").append(make("span", { className: "quiet" }, axes[0]));
  if (lanes.length > 1 && groups.length <= 24) {
    groups.forEach((group, number) => {
      const swatch = make("i");
      swatch.style.background = colourOf(number);
      const members = lanes.map((_, index) => index).filter(index => groupOf[index] === number);
      const entry = lights(make("button", { type: "button" }, swatch, makeLabel(group)), members);
      entry.addEventListener("click", () => openViewer(members[0]));
      $("legend").append(entry);
    });
  }
  highlight([]);
}

/* ---- Table ---- */

const measures = [...new Set(lanes.flatMap(lane => Object.keys(lane.evaluation ?? {})))];
const isNumber = text => text !== "" && Number.isFinite(Number(text));

const columns = [
  { name: "lane", value: lane => lane.name },
  ...axes.map(axis => ({ name: axis, value: lane => lane.coordinates[axis], numeric: study.axes[axis].every(isNumber) })),
  { name: "status", value: lane => lane.status },
  { name: "loss", value: lane => lane.best_loss, numeric: true },
  { name: "best step", value: lane => lane.best_step || null, numeric: true },
  { name: "steps", value: lane => lane.steps, numeric: true },
  { name: "seconds", value: lane => lane.seconds, numeric: true },
  { name: "LPIPS", value: lane => lane.lpips, numeric: true },
  ...measures.map(name => ({ name, value: lane => lane.evaluation?.[name] ?? null, numeric: true })),
];

function makeRow(lane, index) {
  const row = make("tr");
  for (const { name, value, numeric } of columns) {
    const cell = make("td", { className: numeric ? "number" : "" });
    if (name === "lane") {
      const button = make("button", { type: "button" }, makeLabel(lane.name));
      button.addEventListener("click", () => openViewer(index));
      cell.append(button);
    } else if (name === "status") {
      cell.append(make("span", { className: lane.status }, lane.status));
      if (lane.reason) cell.append(make("span", { className: "reason quiet" }, lane.reason));
    } else {
      cell.textContent = axes.includes(name) ? value(lane) : format(value(lane));
    }
    row.append(cell);
  }
  return lights(row, [index]);
}

function sortBy({ value, numeric }, header) {
  const descending = header.ariaSort === "ascending";
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.ariaSort = descending ? "descending" : "ascending";
  const key = lane => numeric && value(lane) !== null ? Number(value(lane)) : value(lane);
  const compare = (a, b) => numeric ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
  const order = lanes.map((lane, index) => [key(lane), index]).sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // the empty come last both ways
    return descending ? compare(b, a) : compare(a, b);
  });
  const body = $("table").tBodies[0], rows = new Map([...body.rows].map(row => [Number(row.dataset.lane), row]));
  body.append(...order.map(([, index]) => rows.get(index)));
}

function fillTable() {
  $("measures").textContent = study.measures ?? "";
  const head = $("table").tHead.insertRow();
  for (const column of columns) {
    const button = make("button", { type: "button" }, axes.includes(column.name) ? spaced(column.name) : column.name);
    const header = make("th", { scope: "col", className: column.numeric ? "number" : "" }, button);
    button.addEventListener("click", () => sortBy(column, header));
    head.append(header);
  }
  $("table").tBodies[0].append(...lanes.map(makeRow));
}

/* ---- Settings ---- */

const isGroup = value => value !== null && typeof value === "object" && !Array.isArray(value);

function fillSettings(name, settings) {
  const plain = Object.entries(settings).filter(([, value]) => !isGroup(value));
  if (plain.length) {
    const list = make("dl", {}, ...plain.flatMap(([key, value]) => [make("dt", {}, spaced(key)), make("dd", {}, format(value))]));
    $("settings").append(make("div", {}, make("h3", {}, spaced(name)), list));
  }
  for (const [key, value] of Object.entries(settings)) {
    if (isGroup(value)) fillSettings(name === "run" ? key : `${name} · ${key}`, value);
  }
}

/* ---- Enlarged ---- */

const viewer = $("viewer"), stage = $("stage"), slider = $("slider");
let current = 0;

function openViewer(index) {
  show(index);
  viewer.showModal();
}

function show(index) {
  current = (index + lanes.length) % lanes.length;
  const lane = lanes[current], { loss: loss_name, ...settings } = lane.settings, content = study.contents[lane.settings.content] ?? null;
  $("viewer-name").replaceChildren(makeLabel(lane.name));
  $("viewer-count").textContent = `${current + 1} of ${lanes.length}`;
  $("viewer-status").textContent = lane.reason ? `${lane.status}: ${lane.reason}` : lane.status;
  $("viewer-status").className = lane.status;
  const shown = { loss: lane.best_loss, best_step: lane.best_step || null, steps: lane.steps, seconds: lane.seconds, LPIPS: lane.lpips, ...lane.evaluation, ...settings, ...(loss_name ? { loss_name } : {}) };
  $("viewer-settings").replaceChildren(...Object.entries(shown).flatMap(([name, value]) => [make("dt", {}, spaced(name)), make("dd", {}, format(value))]));
  $("note").textContent = "";
  viewer.classList.toggle("imageless", !lane.image);
  const shape = lane.image ?? content ?? { width: 1, height: 1 };
  stage.style.setProperty("--ratio", shape.width / shape.height);
  $("full-size").parentElement.hidden = !lane.image;
  if (lane.image) $("full-size").href = lane.image.url;
  $("result").alt = `result of ${lane.name}`;
  $("content").alt = `content image ${lane.settings.content}`;
  showImage($("result"), lane.image);
  showImage($("content"), lane.image && content);
  $("slider-row").hidden = !content;
  slide(content ? Number(slider.value) : 0);
}

/** Shows the thumbnail until the full-size image is there. */
function showImage(element, image) {
  element.hidden = !image;
  if (!image) return;
  element.src = image.thumbnail;
  const lane = current, full = new Image();
  full.onload = () => { if (lane === current) element.src = image.url; };
  full.onerror = () => {
    if (lane === current) $("note").textContent = "The full-size image is not beside this page; this is its thumbnail.";
  };
  full.src = image.url;
}

function slide(percent) {
  slider.value = percent;
  stage.style.setProperty("--split", `${percent}%`);
}

function drag(event) {
  const frame = stage.getBoundingClientRect();
  slide(Math.min(Math.max(100 * (event.clientX - frame.left) / frame.width, 0), 100));
}

function fillViewer() {
  $("previous").addEventListener("click", () => show(current - 1));
  $("next").addEventListener("click", () => show(current + 1));
  $("close").addEventListener("click", () => viewer.close());
  slider.addEventListener("input", () => slide(Number(slider.value)));
  stage.addEventListener("pointerdown", event => {
    if ($("content").hidden) return;
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", event => {
    if (stage.hasPointerCapture(event.pointerId)) drag(event);
  });
  viewer.addEventListener("click", event => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("keydown", event => {
    if (event.target === slider || event.altKey || event.ctrlKey || event.metaKey) return; // the slider's arrows are its own
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(current + step);
  });
}

fillHead();
fillGrid();
fillPlot();
fillTable();
fillSettings("run", study.settings);
fillViewer();
