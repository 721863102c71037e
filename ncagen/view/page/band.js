// Bands of the gzip ratio: their limits in exact gzip lengths, as text, and as a colour.

import { trim } from "./format.js";

const PARTS = 1e12; // of a limit that is computed here

/**
 * A band as it is for rows of a source. own: whether the source has the dataset's settings.
 *
 * The limits of a normalised band are shares of the ratio of pure noise, which differs with the settings.
 */
export function bandOf(band, source, own) {
  if (own || !band.shares) return band;
  const [low, high] = band.shares.map((share) => share * source.noiseRatio);
  return { ...band, low, high, exact: [low, high].map((limit) => [Math.round(limit * PARTS), PARTS]) };
}

/** The gzip lengths of a band, first and one past the last: its limits (exact fractions) times the scored bytes. */
export function bandLengths(band, scoredBytes) {
  return band.exact.map(([above, below]) => {
    const [numerator, denominator] = [BigInt(above) * BigInt(scoredBytes), BigInt(below)];
    return Number((numerator + denominator - 1n) / denominator);
  });
}

/** The limits as text, those of a normalised band as shares of noise. */
export function bandLimits(band) {
  const [low, high] = band.shares ?? [band.low, band.high];
  return `${trim(low)} to ${trim(high)}${band.shares ? " of noise" : ""}`;
}

/** The CSS class of a band's colour, chosen by the middle of its ratios; also for `undefined`. */
export function bandTone(band) {
  if (!band) return "high";
  const middle = (band.low + Math.min(band.high, 0.670)) / 2;
  return middle < 0.3 ? "low" : middle < 0.4 ? "medium" : middle < 0.5 ? "upper" : "high";
}
