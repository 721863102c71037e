// Random bits that are addressed, not drawn in sequence: docs/automaton.md, section 2.
//
// Products of two 32-bit words are computed from 16-bit halves, so that every value is an exact integer.

export const STREAMS = { train: 0, validation: 1, test: 2, pilot: 3 };

/** The purposes of words; the noise of step t has the purpose `noise` + t. */
export const PURPOSE = { perception: 0, hidden: 1, output: 2, startWeights: 3, startCells: 4, noise: 16 };

function highWord(a, b) {
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  return a1 * b1 + (middle >>> 16) + ((a0 * b1 + (middle & 0xffff)) >>> 16);
}

/** Writes one block of four 32-bit words to `out`. */
export function philox(c0, c1, c2, c3, k0, k1, out) {
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
export class Words {
  constructor(key, number) {
    [this.k0, this.k1] = key;
    this.low = Number(number & 0xffffffffn);
    this.high = Number(number >> 32n);
    this.block = new Uint32Array(4);
  }

  /** Fills `out` with 16-bit words of a purpose, from block `first` on. */
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
