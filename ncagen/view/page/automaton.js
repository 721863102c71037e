// The automaton of docs/automaton.md, bit for bit: numbers in brackets are its sections.
//
// Integers only. Products of two 32-bit words go through 16-bit halves; what needs more than 32 bits stays an exact
// integer of float64 and is divided with Math.floor. A candidate is a BigInt. `settings` is what page.py makes of a
// spec: its fields, with temperature and identity bias as the integers of section 7.
//
// Not covered: the gzip length (gzip.js), and deciding which candidates a dataset holds.
"use strict";

const STREAMS = { train: 0, validation: 1, test: 2, pilot: 3 };
const PERCEPTION = 0, HIDDEN = 1, OUTPUT = 2, START_WEIGHTS = 3, START_CELLS = 4, NOISE = 16;
const CHANNELS = 4, UNITS = 16, SCORED_GRIDS = 10;

// ------------------------------------------------------------------------------------------ random numbers [2]

function highWord(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return a1 * b1 + (middle >>> 16) + ((a0 * b1 + (middle & 0xffff)) >>> 16);
}

/** One block of four 32-bit words, written to `out`. */
function philox(c0, c1, c2, c3, k0, k1, out) {
  for (let round = 0; round < 10; round++) {
    const left = highWord(0xd2511f53, c0), right = highWord(0xcd9e8d57, c2);
    const lowLeft = Math.imul(0xd2511f53, c0), lowRight = Math.imul(0xcd9e8d57, c2);
    c0 = right ^ c1 ^ k0;
    c1 = lowRight;
    c2 = left ^ c3 ^ k1;
    c3 = lowLeft;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** The random words of one candidate or rule number: `key` is [seed, stream], `number` a BigInt. */
class Words {
  constructor(key, number) {
    [this.k0, this.k1] = key;
    this.low = Number(number & 0xffffffffn);
    this.high = Number(number >> 32n);
    this.block = new Uint32Array(4);
  }

  /** 16-bit words of a purpose, from block `first` on, as many as `out` holds. */
  fill(purpose, first, out) {
    const bits = this.block;
    for (let i = 0; i < out.length; i++) {
      if (i % 8 === 0) philox(first + i / 8, purpose, this.low, this.high, this.k0, this.k1, bits);
      out[i] = i % 2 ? bits[(i % 8) >> 1] >>> 16 : bits[(i % 8) >> 1] & 0xffff;
    }
    return out;
  }

  take(purpose, count) {
    return this.fill(purpose, 0, new Uint16Array(count));
  }
}

// --------------------------------------------------------------------------------------------------- tables [3]

// Algorithm AS 241 of M. J. Wichura, "The Percentage Points of the Normal Distribution" (1988): a quotient of two
// polynomials near the middle, another further out. Its third, beyond 5 of r, is for no quantile of 16 bits.
const MIDDLE = [
  [2.5090809287301226727e3, 3.343057558358812810e4, 6.726577092700870085e4, 4.592195393154987146e4,
    1.373169376550946112e4, 1.971590950306551443e3, 1.3314166789178437745e2, 3.387132872796366608],
  [5.226495278852545925e3, 2.872908573572194267e4, 3.930789580009271061e4, 2.121379430158659587e4,
    5.394196021424751108e3, 6.871870074920579083e2, 4.231333070160091125e1, 1],
];
const OUTER = [
  [7.745450142783414076e-4, 2.272384498926918458e-2, 2.417807251774506118e-1, 1.270458252452368383,
    3.647848324763204605, 5.769497221460691406, 4.630337846156545296, 1.423437110749683577],
  [1.050750071644416843e-9, 5.475938084995344946e-4, 1.519866656361645720e-2, 1.481039764274800746e-1,
    6.897673349851000046e-1, 1.676384830183803849, 2.053191626637758822, 1],
];

function quotient([above, below], r) {
  let over = 0, under = 0;
  for (let i = 0; i < above.length; i++) {
    over = over * r + above[i];
    under = under * r + below[i];
  }
  return over / under;
}

/** The standard normal quantile, good to about 1e-16; p is half of 1 at most here. */
function normalQuantile(p) {
  const q = p - 0.5;
  return q >= -0.425 ? q * quotient(MIDDLE, 0.180625 - q * q) : -quotient(OUTER, Math.sqrt(-Math.log(p)) - 1.6);
}

const TAIL = 0.022750131948179209; // of the standard normal, below -2
const DEVIATION = 0.87962566103423978; // of a standard normal cut at two sigma

function halves(Type, half, other) {
  const values = new Type(65536);
  for (let w = 0; w < 32768; w++) {
    values[w] = half(w);
    values[65535 - w] = other(w);
  }
  return values;
}

function weightTable(scale) {
  const weight = (w) => Math.round((scale / DEVIATION) * normalQuantile(TAIL + ((1 - 2 * TAIL) / 65536) * (w + 0.5)));
  return halves(Int16Array, weight, (w) => -weight(w));
}

function makeTables() {
  const start = (sign) => (w) => Math.round(1024 * Math.exp(sign * normalQuantile((w + 0.5) / 65536)));
  const gumbel = (w) => Math.round(-4096 * Math.log(-Math.log((w + 0.5) / 65536)));
  return {
    perception: weightTable(800),
    hidden: weightTable(7200),
    output: weightTable(1024),
    start: halves(Int32Array, start(1), start(-1)),
    gumbel: halves(Int32Array, gumbel, (w) => gumbel(65535 - w)),
  };
}

const TABLES = makeTables();

/** Sums that one wrong entry changes; page.py has the same sums of the factory's tables. */
function tableSums() {
  return Object.fromEntries(Object.entries(TABLES).map(([name, entries]) => {
    return [name, entries.reduce((sum, entry, w) => (sum + Math.imul(w + 1, entry)) >>> 0, 0)];
  }));
}

// ------------------------------------------------------------------------------------------ rule and start [4, 5]

/** perception: Int32Array[place, state, channel]. hidden: [unit, channel]. output: [state, unit]. */
function sampleRule(settings, key, candidate) {
  const words = new Words(key, candidate / BigInt(settings.perRule));
  const draw = (purpose, entries, count) => Int32Array.from(words.take(purpose, count), (w) => entries[w]);
  const n = settings.states, wrapped = n + (settings.channelWrap ? 2 : 0);
  const drawn = draw(PERCEPTION, TABLES.perception, 9 * wrapped * CHANNELS);
  const perception = new Int32Array(9 * n * CHANNELS);
  for (let place = 0; place < 9; place++) {
    const from = (channel, c) => drawn[(place * wrapped + channel) * CHANNELS + c];
    for (let s = 0; s < n; s++) {
      for (let c = 0; c < CHANNELS; c++) {
        let weight = from(settings.channelWrap ? s + 1 : s, c);
        if (settings.channelWrap && s === n - 1) weight += from(0, c);
        if (settings.channelWrap && s === 0) weight += from(n + 1, c);
        perception[(place * n + s) * CHANNELS + c] = weight;
      }
    }
  }
  return {
    perception,
    hidden: draw(HIDDEN, TABLES.hidden, UNITS * CHANNELS),
    output: draw(OUTPUT, TABLES.output, n * UNITS),
  };
}

function startCells(settings, key, candidate) {
  const n = settings.states, words = new Words(key, candidate);
  const draws = words.take(START_CELLS, settings.grid * settings.grid);
  if (settings.start === "uniform") return Uint8Array.from(draws, (w) => (w * n) >> 16);
  let total = 0;
  const ends = Array.from(words.take(START_WEIGHTS, n), (w) => (total += TABLES.start[w]));
  return Uint8Array.from(draws, (w) => {
    const point = Math.floor((w * total) / 65536);
    return ends.filter((end) => end <= point).length;
  });
}

// ----------------------------------------------------------------------------------------------------- steps [6]

class Automaton {
  /** settings as above, stream a number, candidate a BigInt. It starts at step 0. */
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
    this.reach = this.noise(65535) - this.noise(0); // no noise makes up for more than this
  }

  noise(word) {
    return Math.floor((TABLES.gumbel[word] * this.settings.temperature) / 4096);
  }

  advance() {
    this.step++;
    const side = this.settings.grid;
    for (let y = 0; y < side; y++) {
      for (let x = 0; x < side; x++) {
        this.weigh(y, x);
        this.next[y * side + x] = this.choose(y * side + x);
      }
    }
    [this.cells, this.next] = [this.next, this.cells];
  }

  /** The logits of one cell's next state. */
  weigh(y, x) {
    const { cells, units, logits } = this, { perception, hidden, output } = this.rule;
    const side = this.settings.grid, n = this.settings.states;
    let p0 = 0, p1 = 0, p2 = 0, p3 = 0;
    for (let row = 0; row < 3; row++) {
      const line = ((y + row + side - 1) % side) * side;
      for (let column = 0; column < 3; column++) {
        const state = cells[line + ((x + column + side - 1) % side)];
        const at = ((3 * row + column) * n + state) * CHANNELS;
        p0 += perception[at];
        p1 += perception[at + 1];
        p2 += perception[at + 2];
        p3 += perception[at + 3];
      }
    }
    for (let j = 0; j < UNITS; j++) {
      const sum = hidden[4 * j] * p0 + hidden[4 * j + 1] * p1 + hidden[4 * j + 2] * p2 + hidden[4 * j + 3] * p3;
      units[j] = sum > 0 ? sum >> 16 : 0;
    }
    for (let s = 0; s < n; s++) {
      let sum = 0;
      for (let j = 0; j < UNITS; j++) sum += output[s * UNITS + j] * units[j];
      logits[s] = sum;
    }
  }

  /** The state of the highest logit after noise, the lowest of equals. */
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
    this.words.fill(NOISE + this.step, cell * (drawn.length / 8), drawn);
    for (let s = 0; s < n; s++) logits[s] += this.noise(drawn[s]);
    best = 0;
    for (let s = 1; s < n; s++) if (logits[s] > logits[best]) best = s;
    return best;
  }
}

// ---------------------------------------------------------------------------------------- frames and tokens [8, 9]

/** The step of a recorded grid; the first grid is number 0. */
function stepOf(settings, frame) {
  return settings.warmup + settings.stride * frame;
}

/** The patches of a grid, row by row: Uint32Array. */
function patchTokens(settings, cells) {
  const { grid, patch, states } = settings, side = grid / patch;
  const tokens = new Uint32Array(side * side);
  for (let place = 0; place < tokens.length; place++) {
    const corner = Math.floor(place / side) * patch * grid + (place % side) * patch;
    let token = 0;
    for (let digit = patch * patch - 1; digit >= 0; digit--) {
      token = token * states + cells[corner + Math.floor(digit / patch) * grid + (digit % patch)];
    }
    tokens[place] = token;
  }
  return tokens;
}

function patchIds(settings) {
  return settings.states ** (settings.patch * settings.patch);
}

/** A row's tokens, each grid between its delimiters, from the patches of its grids. */
function rowTokens(settings, patches) {
  const first = patchIds(settings);
  return Uint32Array.from(patches.flatMap((tokens) => [first, ...tokens, first + 1]));
}

/** Patch tokens as they are scored: four bytes each, the least significant first. */
function scoredBytes(patches) {
  const tokens = patches.flatMap((some) => [...some]);
  const bytes = new Uint8Array(4 * tokens.length);
  tokens.forEach((token, i) => {
    for (let b = 0; b < 4; b++) bytes[4 * i + b] = token >>> (8 * b);
  });
  return bytes;
}

/** Yields each recorded grid of a candidate, `count` of them, and null after each step between them. */
function* trajectory(settings, stream, candidate, count) {
  const automaton = new Automaton(settings, stream, candidate);
  for (let frame = 0; frame < count; frame++) {
    while (automaton.step < stepOf(settings, frame)) {
      automaton.advance();
      yield null;
    }
    yield automaton.cells.slice();
  }
}

/** Tokens and score of a whole row, as the factory makes them. */
function makeRow(settings, stream, candidate) {
  const grids = [...trajectory(settings, stream, candidate, settings.frames)].filter(Boolean);
  const patches = grids.map((cells) => patchTokens(settings, cells));
  return {
    grids,
    patches,
    tokens: rowTokens(settings, patches),
    gzipBytes: gzipLength(scoredBytes(patches.slice(0, SCORED_GRIDS))),
  };
}

/** Gzip length of grids whose cells are drawn uniformly, the mean of some: as complex as an alphabet gets. */
function noiseLength(settings, samples) {
  const tokens = Math.min(SCORED_GRIDS, settings.frames) * (settings.grid / settings.patch) ** 2;
  let sum = 0;
  for (let i = 0; i < samples; i++) {
    const digits = settings.patch * settings.patch;
    const draws = new Words([0, STREAMS.pilot], BigInt(i)).take(START_CELLS, tokens * digits);
    const patches = new Uint32Array(tokens);
    for (let t = 0; t < tokens; t++) {
      let token = 0;
      for (let d = digits - 1; d >= 0; d--) {
        token = token * settings.states + ((draws[t * digits + d] * settings.states) >> 16);
      }
      patches[t] = token;
    }
    sum += gzipLength(scoredBytes([patches]));
  }
  return sum / samples;
}
