// The automaton's steps, bit for bit as docs/automaton.md defines them in section 6.
//
// Integers only. Values above 32 bits are exact integers in float64 and are divided with Math.floor. nca_twin.py makes
// `settings` from a spec: temperature and bias are the integers of section 7.
//
// Not covered: the rule and the start (rule.js); frames, tokens and the score (nca.js).

import { PURPOSE, Words } from "./philox.js";
import { UNITS, sampleRule, startCells } from "./rule.js";
import { TABLES } from "./tables.js";

export class Automaton {
  /** stream: a number. candidate: a BigInt. The automaton starts at step 0. */
  constructor(settings, stream, candidate) {
    const key = [settings.seed, stream];
    this.settings = settings;
    this.rule = sampleRule(settings, key, candidate);
    this.words = new Words(key, candidate);
    this.cells = startCells(settings, key, candidate);
    this.step = 0;
    this.next = new Uint8Array(this.cells.length);
    this.logits = new Int32Array(settings.states);
    this.units = new Int32Array(UNITS);
    this.drawn = new Uint16Array(8 * Math.ceil(settings.states / 8));
    this.reach = this.noise(65535) - this.noise(0); // noise cannot change a larger difference
  }

  noise(word) {
    return Math.floor((TABLES.gumbel[word] * this.settings.temperature) / 4096);
  }

  advance() {
    this.step++;
    const { height, width } = this.settings;
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        this.weigh(y, x);
        this.next[y * width + x] = this.choose(y * width + x);
      }
    }
    [this.cells, this.next] = [this.next, this.cells];
  }

  /** Computes the logits of one cell's next state. The four channels are written out: an inner loop is slower. */
  weigh(y, x) {
    const { cells, units, logits } = this, { perception, hidden, output } = this.rule;
    const { height, width } = this.settings, n = logits.length;
    let p0 = 0, p1 = 0, p2 = 0, p3 = 0;
    for (let row = 0; row < 3; row++) {
      const line = ((y + row + height - 1) % height) * width;
      for (let column = 0; column < 3; column++) {
        const state = cells[line + ((x + column + width - 1) % width)];
        const at = 4 * ((3 * row + column) * n + state);
        p0 += perception[at];
        p1 += perception[at + 1];
        p2 += perception[at + 2];
        p3 += perception[at + 3];
      }
    }
    for (let j = 0; j < units.length; j++) {
      const sum = hidden[4 * j] * p0 + hidden[4 * j + 1] * p1 + hidden[4 * j + 2] * p2 + hidden[4 * j + 3] * p3;
      units[j] = sum > 0 ? sum >> 16 : 0;
    }
    for (let s = 0; s < n; s++) {
      let sum = 0;
      for (let j = 0, at = s * units.length; j < units.length; j++) sum += output[at + j] * units[j];
      logits[s] = sum;
    }
  }

  /** Returns the state with the highest logit after noise, the lowest among equals. */
  choose(cell) {
    const { logits, drawn } = this, n = logits.length;
    logits[this.cells[cell]] += this.settings.bias;
    let best = 0, second = -Infinity;
    for (let s = 1; s < n; s++) {
      if (logits[s] > logits[best]) {
        second = logits[best];
        best = s;
      } else if (logits[s] > second) second = logits[s];
    }
    if (logits[best] - second > this.reach || this.settings.temperature === 0) return best;
    this.words.fill(PURPOSE.noise + this.step, cell * (drawn.length / 8), drawn);
    for (let s = 0; s < n; s++) logits[s] += this.noise(drawn[s]);
    best = 0;
    for (let s = 1; s < n; s++) if (logits[s] > logits[best]) best = s;
    return best;
  }
}
