// The neural cellular automaton as a source of rows: frames, tokens and the score of docs/automaton.md, sections 8 and
// 9, and the other members of a twin that source.js lists.
//
// Not covered: which candidates a dataset has.

import { Automaton } from "./automaton.js";
import { drawGrid } from "./grid.js";
import { gzipLength } from "./gzip.js";
import { PURPOSE, STREAMS, Words } from "./philox.js";
import { tableSums } from "./tables.js";

const SCORED_GRIDS = 10, NOISE_SAMPLES = 64, NOISE_BYTES = 1e5;

export class Nca {
  /** The data of nca_twin.py: `settings`, the `choices` that the page offers, and `tableSums`. */
  constructor(twin) {
    this.twin = twin;
    this.settings = twin.settings;
    const { height, width, patch, states, frames } = this.settings;
    Object.assign(this, { height, width, patch, patchHeight: patch, frames, steps: true });
    this.colours = twin.choices.states[states].colours;
    this.patches = (height / patch) * (width / patch);
    this.patchIds = states ** (patch * patch);
    this.frameTokens = this.patches + 2;
    this.scoredFrames = Math.min(SCORED_GRIDS, frames);
    this.scoredBytes = this.scoredFrames * this.patches * 4;
  }

  /** Whether this engine's logarithms give the tables of Python. */
  get exact() {
    const sums = tableSums();
    return Object.entries(this.twin.tableSums).every(([name, sum]) => sums[name] === sum);
  }

  // ------------------------------------------------------------------------------------------------- settings

  get controls() {
    const { states, grids } = this.twin.choices;
    return [
      { name: "states", label: "States", options: Object.keys(states).map((count) => [count, count]) },
      { name: "grid", label: "Grid", options: grids.map(([h, w]) => [gridText(h, w), `${h} × ${w}`]) },
    ];
  }

  get values() {
    const { seed, states, height, width } = this.settings;
    return { seed: String(seed), states: String(states), grid: gridText(height, width) };
  }

  /** Values that are left out do not change. */
  changed(values) {
    const { seed, states, grid } = { ...this.values, ...values };
    const { colours, ...units } = this.twin.choices.states[states];
    const [height, width = height] = grid.split("x").map(Number);
    const settings = { ...this.settings, seed: Number(seed), states: Number(states), height, width, ...units };
    const patches = (height / this.patch) * (width / this.patch);
    settings.frames = Math.ceil((settings.seqLen + 1) / (patches + 2));
    return new Nca({ ...this.twin, settings });
  }

  // ----------------------------------------------------------------------------------------------------- rows

  stepOf(frame) {
    return this.settings.warmup + this.settings.stride * frame;
  }

  placeOf(frame, patch) {
    return { grid: frame, patch, position: frame * this.frameTokens + 1 + patch };
  }

  isFrame(step) {
    return step >= this.settings.warmup && (step - this.settings.warmup) % this.settings.stride === 0;
  }

  *row(stream, candidate, frames = this.frames) {
    const automaton = new Automaton(this.settings, stream, candidate), grids = [];
    for (let frame = 0; frame < frames; frame++) {
      while (automaton.step < this.stepOf(frame)) {
        automaton.advance();
        yield;
      }
      grids.push(automaton.cells.slice());
    }
    const patches = grids.map((cells) => this.patchTokens(cells));
    return {
      frames: grids,
      patches,
      tokens: Uint32Array.from(patches.flatMap((tokens) => [this.patchIds, ...tokens, this.patchIds + 1])),
      gzipBytes: this.score(patches.slice(0, this.scoredFrames)),
    };
  }

  play(stream, candidate, cells) {
    const automaton = new Automaton(this.settings, stream, candidate);
    automaton.cells.set(cells);
    automaton.step = this.stepOf(0);
    return automaton;
  }

  patchTokens(cells) {
    const { width, patch } = this, { states } = this.settings, across = width / patch;
    const tokens = new Uint32Array(this.patches);
    for (let i = 0; i < tokens.length; i++) {
      const corner = Math.floor(i / across) * patch * width + (i % across) * patch;
      let token = 0;
      for (let digit = patch * patch - 1; digit >= 0; digit--) {
        token = token * states + cells[corner + Math.floor(digit / patch) * width + (digit % patch)];
      }
      tokens[i] = token;
    }
    return tokens;
  }

  // ---------------------------------------------------------------------------------------------------- score

  score(patches) {
    return gzipLength(scoredText(patches));
  }

  /** The ratio of pure noise; from fewer samples if they are long. */
  get noiseRatio() {
    const samples = Math.max(2, Math.min(NOISE_SAMPLES, Math.floor(NOISE_BYTES / this.scoredBytes)));
    return (this.noise ??= this.noiseLength(samples) / this.scoredBytes);
  }

  /** The mean gzip length of rows whose cells are drawn uniformly, the most complex ones of an alphabet. */
  noiseLength(samples) {
    const { states } = this.settings, digits = this.patch * this.patch, count = this.scoredBytes / 4;
    let sum = 0;
    for (let i = 0; i < samples; i++) {
      const draws = new Words([0, STREAMS.pilot], BigInt(i)).take(PURPOSE.startCells, count * digits);
      const tokens = new Uint32Array(count);
      for (let t = 0; t < count; t++) {
        let token = 0;
        for (let d = digits - 1; d >= 0; d--) token = token * states + ((draws[t * digits + d] * states) >> 16);
        tokens[t] = token;
      }
      sum += this.score([tokens]);
    }
    return sum / samples;
  }

  // ------------------------------------------------------------------------------------------------- pictures

  draw(context, cells, x, y, width, height) {
    drawGrid(context, cells, this, this.colours, x, y, width, height);
  }

  /** Draws a patch as a picture of one pixel a cell. */
  drawToken(canvas, token) {
    const { patch } = this, cells = this.tokenCells(token).flatMap((line) => line.split(" ").map(Number));
    canvas.width = canvas.height = patch;
    drawGrid(canvas.getContext("2d"), cells, { height: patch, width: patch }, this.colours, 0, 0, patch, patch);
  }

  /** Returns the cells of a patch as lines of numbers, one for each row of cells. */
  tokenCells(token) {
    const { states } = this.settings, lines = [];
    for (let y = 0; y < this.patch; y++) {
      const cells = [];
      for (let x = 0; x < this.patch; x++) {
        cells.push(token % states);
        token = Math.floor(token / states);
      }
      lines.push(cells.join(" "));
    }
    return lines;
  }

  // ---------------------------------------------------------------------------------------------------- texts

  delimiterName(token) {
    return token === this.patchIds ? "start" : "end";
  }

  frameName(frame) {
    return `Grid ${frame}, step ${this.stepOf(frame)}`;
  }

  get description() {
    const { frames, height, width, settings } = this;
    return `trajectories of random neural cellular automata: ${frames} grids of ${height} × ${width} cells in `
      + `${settings.states} states each`;
  }

  get format() {
    return `${this.frames} grids of ${this.patches} patches, each grid between a start (${this.patchIds}) and an end `
      + `(${this.patchIds + 1})`;
  }
}

function gridText(height, width) {
  return height === width ? String(height) : `${height}x${width}`;
}

/** Returns the scored bytes of patch tokens: four bytes each, the least significant first. */
function scoredText(patches) {
  const tokens = patches.flatMap((some) => [...some]);
  const bytes = new Uint8Array(4 * tokens.length);
  tokens.forEach((token, i) => {
    for (let b = 0; b < 4; b++) bytes[4 * i + b] = token >>> (8 * b);
  });
  return bytes;
}
