// Small helpers of the page: elements, numbers as text, grids on a canvas, the tooltip. Text is only ever set as text.
"use strict";

/** An HTML element. Attributes that are functions are event listeners; children are elements or text. */
function make(tag, attributes = {}, ...children) {
  return furnish(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
function shape(tag, attributes = {}, ...children) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function furnish(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

const byId = (id) => document.getElementById(id);
const whole = (n) => n.toLocaleString("en-US");
const percent = (part, of) => (of ? `${((100 * part) / of).toFixed(1)} %` : "–");
const trim = (n) => String(Number(n.toFixed(4)));

/** The gzip lengths of a band, first and one past the last: its limits, exact fractions, times the scored bytes. */
function bandLengths(band, scoredBytes) {
  return band.exact.map(([above, below]) => {
    const [numerator, denominator] = [BigInt(above) * BigInt(scoredBytes), BigInt(below)];
    return Number((numerator + denominator - 1n) / denominator);
  });
}

/** The colour of a band, by its place among the known ratios. */
function bandTone(band) {
  const middle = (band.low + Math.min(band.high, 0.67)) / 2;
  return middle < 0.3 ? "low" : middle < 0.4 ? "medium" : middle < 0.5 ? "upper" : "high";
}

const paints = new Map();

function paintOf(colours) {
  const key = colours.join();
  if (!paints.has(key)) {
    // One 32-bit word a pixel, as it lies in memory.
    const words = colours.map((c) => new Uint8Array([1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)).concat(255)));
    paints.set(key, new Uint32Array(words.map((bytes) => new Uint32Array(bytes.buffer)[0])));
  }
  return paints.get(key);
}

const stamps = new Map();

/** A grid as a canvas of one pixel a cell, to be drawn elsewhere at any size. The next call of this size reuses it. */
function stamp(cells, side, colours) {
  if (!stamps.has(side)) {
    const canvas = make("canvas", { width: side, height: side }), context = canvas.getContext("2d");
    stamps.set(side, { canvas, context, image: context.createImageData(side, side) });
  }
  const { canvas, context, image } = stamps.get(side), paint = paintOf(colours);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < cells.length; i++) pixels[i] = paint[cells[i]];
  context.putImageData(image, 0, 0);
  return canvas;
}

function drawGrid(context, cells, side, colours, x, y, size) {
  context.imageSmoothingEnabled = false;
  context.drawImage(stamp(cells, side, colours), x, y, size, size);
}

// ------------------------------------------------------------------------------------------------------ tooltip

/** Shows lines of text near a point of the window. */
function showTip(x, y, lines) {
  const tip = byId("tip");
  tip.replaceChildren(...lines.map((line) => make("div", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect(), gap = 14;
  const left = x + gap + width > innerWidth ? x - gap - width : x + gap;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
  tip.style.top = `${y + gap + height > innerHeight ? Math.max(4, y - gap - height) : y + gap}px`;
}

function hideTip() {
  byId("tip").hidden = true;
}

/** Cells of a patch as they lie in the grid, a line of numbers each. */
function patchLines(settings, token) {
  const { patch, states } = settings, lines = [];
  for (let y = 0; y < patch; y++) {
    const cells = [];
    for (let x = 0; x < patch; x++) {
      cells.push(token % states);
      token = Math.floor(token / states);
    }
    lines.push(cells.join(" "));
  }
  return lines;
}
