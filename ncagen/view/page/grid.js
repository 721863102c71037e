// Draws grids of states on a canvas, in the colours that nca_twin.py lists for each state.

import { make } from "./elements.js";

const paints = new Map();

/** Converts colours such as #332288 to 32-bit words, one for each pixel, in memory order: Uint32Array[state]. */
export function paintOf(colours) {
  const key = colours.join();
  if (!paints.has(key)) {
    const words = colours.map((c) => new Uint8Array([1, 3, 5].map((i) => parseInt(c.slice(i, i + 2), 16)).concat(255)));
    paints.set(key, new Uint32Array(words.map((bytes) => new Uint32Array(bytes.buffer)[0])));
  }
  return paints.get(key);
}

const stamps = new Map();

/** Draws a grid on a canvas of one pixel a cell, to be scaled elsewhere. The next call of this size reuses it. */
function stamp(cells, height, width, colours) {
  const key = `${height}x${width}`;
  if (!stamps.has(key)) {
    const canvas = make("canvas", { width, height }), context = canvas.getContext("2d");
    stamps.set(key, { canvas, context, image: context.createImageData(width, height) });
  }
  const { canvas, context, image } = stamps.get(key), paint = paintOf(colours);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < cells.length; i++) pixels[i] = paint[cells[i]];
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draws cells (row by row, `height` x `width` of them) into a box of the canvas. */
export function drawGrid(context, cells, { height, width }, colours, x, y, boxWidth, boxHeight) {
  context.imageSmoothingEnabled = false;
  context.drawImage(stamp(cells, height, width, colours), x, y, boxWidth, boxHeight);
}
