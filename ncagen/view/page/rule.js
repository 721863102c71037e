// A candidate's random rule and start grid: docs/automaton.md, sections 4 and 5.
//
// nca_twin.py makes `settings` from a spec. `key` is [seed, stream], a candidate is a BigInt.

import { PURPOSE, Words } from "./philox.js";
import { TABLES } from "./tables.js";

export const CHANNELS = 4;
export const UNITS = 16;

/** perception: Int32Array[neighbour, state, channel]. hidden: [unit, channel]. output: [state, unit]. */
export function sampleRule(settings, key, candidate) {
  const words = new Words(key, candidate / BigInt(settings.perRule));
  const draw = (purpose, entries, count) => Int32Array.from(words.take(purpose, count), (w) => entries[w]);
  const n = settings.states, wrapped = n + (settings.channelWrap ? 2 : 0);
  const drawn = draw(PURPOSE.perception, TABLES.perception, 9 * wrapped * CHANNELS);
  return {
    perception: settings.channelWrap ? foldWrap(drawn, n) : drawn,
    hidden: draw(PURPOSE.hidden, TABLES.hidden, UNITS * CHANNELS),
    output: draw(PURPOSE.output, TABLES.output, n * UNITS),
  };
}

/** Converts weights by wrapped channel to weights by state: the first and the last state have two weights each. */
function foldWrap(drawn, n) {
  const folded = new Int32Array(9 * n * CHANNELS);
  for (let neighbour = 0; neighbour < 9; neighbour++) {
    const from = (channel, c) => drawn[(neighbour * (n + 2) + channel) * CHANNELS + c];
    for (let s = 0; s < n; s++) {
      for (let c = 0; c < CHANNELS; c++) {
        const other = (s === n - 1 ? from(0, c) : 0) + (s === 0 ? from(n + 1, c) : 0);
        folded[(neighbour * n + s) * CHANNELS + c] = from(s + 1, c) + other;
      }
    }
  }
  return folded;
}

/** The states at step 0, row by row: Uint8Array[height * width]. */
export function startCells(settings, key, candidate) {
  const n = settings.states, words = new Words(key, candidate);
  const draws = words.take(PURPOSE.startCells, settings.height * settings.width);
  if (settings.start === "uniform") return Uint8Array.from(draws, (w) => (w * n) >> 16);
  let total = 0;
  const ends = Array.from(words.take(PURPOSE.startWeights, n), (w) => (total += TABLES.start[w]));
  return Uint8Array.from(draws, (w) => {
    const point = Math.floor((w * total) / 65536);
    return ends.filter((end) => end <= point).length;
  });
}
