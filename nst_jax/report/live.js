"use strict";

const $ = id => document.getElementById(id);
let picture = 0, shown = 0, misses = 0;

/** An HTML element; children are elements or texts, and a text is never read as HTML. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function draw(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

/** The curves, on a logarithmic scale from their least to their greatest loss. */
function plot(steps, curves, total) {
  const values = curves.flat().filter(value => value > 0);
  $("loss-section").hidden = steps.length < 2 || !values.length;
  if ($("loss-section").hidden) return;
  const svg = $("plot"), { width, height } = svg.getBoundingClientRect();
  const left = 56, right = 8, top = 8, bottom = 22;
  let low = Math.log(Math.min(...values)), high = Math.log(Math.max(...values));
  if (high - low < 1e-6) [low, high] = [low - 0.05, high + 0.05];
  const x = step => left + (width - left - right) * step / total;
  const y = value => top + (height - top - bottom) * (high - Math.log(value)) / (high - low);
  const marks = [];
  for (const share of [0, 1 / 3, 2 / 3, 1]) {
    const value = Math.exp(low + share * (high - low));
    marks.push(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(value), y2: y(value) }));
    marks.push(draw("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, String(Number(value.toPrecision(3)))));
    const step = Math.round(share * total), anchor = share === 1 ? "end" : "middle";
    marks.push(draw("text", { x: x(step), y: height - 4, "text-anchor": anchor }, String(step)));
  }
  for (const [index, curve] of curves.entries()) {
    const parts = []; // a gap where there is no loss
    let after = "M";
    for (const [place, value] of curve.entries()) {
      if (value > 0) parts.push(`${after}${x(steps[place]).toFixed(1)},${y(value).toFixed(1)}`);
      after = value > 0 ? "L" : "M";
    }
    const colour = `hsl(${(212 + index * 360 / curves.length) % 360} 65% calc(var(--tone) * 85%))`;
    const line = draw("path", { class: "curve", d: parts.join("") });
    line.style.stroke = colour;
    marks.push(line);
  }
  svg.replaceChildren(...marks);
}

function addLanes(lanes) {
  for (const lane of lanes.slice(shown)) {
    const figure = make("figure");
    if (lane.picture) figure.append(make("span", { className: "thumbnail" }, make("img", { src: lane.picture, alt: "" })));
    const name = lane.name.split(/(?<=[_,;=/])/).flatMap(part => [part, make("wbr")]);
    figure.append(make("figcaption", {}, ...name, make("span", { className: `label${lane.failed ? " failed" : ""}` }, lane.text)));
    $("lanes").append(figure);
  }
  shown = lanes.length;
  $("lanes-section").hidden = !shown;
}

function show(state) {
  document.title = $("title").textContent = state.title;
  $("summary").textContent = state.status;
  $("bar").firstElementChild.style.width = `${100 * state.done}%`;
  $("caption").textContent = state.caption;
  if (state.picture !== picture) {
    picture = state.picture;
    $("picture-section").hidden = !picture;
    if (picture) $("picture").src = `picture?${picture}`; // what was there stays until it is loaded
  }
  plot(state.steps, state.curves, state.num_steps);
  addLanes(state.lanes);
}

async function follow() {
  let ended = false;
  try {
    const answer = await fetch("state");
    const state = await answer.json();
    show(state);
    misses = 0;
    ended = state.ended;
  } catch {
    misses += 1;
    ended = misses === 3;
    if (ended) $("summary").textContent += " – the command has ended";
  }
  if (!ended) setTimeout(follow, 1000);
}

follow();
