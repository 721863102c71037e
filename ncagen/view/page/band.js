// Bands of the gzip ratio: their limits in exact gzip lengths, as text, and as a colour.

import { trim } from "./format.js";

/** The gzip lengths of a band, first and one past the last: its limits (exact fractions) times the scored bytes. */
export function bandLengths(band, scoredBytes) {
  return band.exact.map(([above, below]) => {
    const [numerator, denominator] = [BigInt(above) * BigInt(scoredBytes), BigInt(below)];
    return Number((numerator + denominator - 1n) / denominator);
  });
}

export function bandLimits(band) {
  return `${trim(band.low)} to ${trim(band.high)}`;
}

/** The CSS class of a band's colour, chosen by the middle of its ratios; also for `undefined`. */
export function bandTone(band) {
  if (!band) return "high";
  const middle = (band.low + Math.min(band.high, 0.670)) / 2;
  return middle < 0.3 ? "low" : middle < 0.4 ? "medium" : middle < 0.5 ? "upper" : "high";
}
