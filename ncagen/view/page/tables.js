// The tables that turn 16-bit words into weights, start weights and noise: docs/automaton.md, section 3.
//
// They are computed with this engine's logarithms; `tableSums` detects an engine that rounds differently.

// Algorithm AS 241 of M. J. Wichura, "The Percentage Points of the Normal Distribution" (1988): a quotient of two
// polynomials near the middle, another further out. The third, for r above 5, is for no quantile of 16 bits.
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

/** The standard normal quantile, with an error of about 1e-16; p is at most 1/2. */
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

export const TABLES = makeTables();

/** Checksums that one wrong entry changes; nca_twin.py computes the same sums in Python. */
export function tableSums() {
  return Object.fromEntries(Object.entries(TABLES).map(([name, entries]) => {
    return [name, entries.reduce((sum, entry, w) => (sum + Math.imul(w + 1, entry)) >>> 0, 0)];
  }));
}
