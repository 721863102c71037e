// Searches for a candidate of a band by trying some, if settings differ from the dataset's or it lacks the band.

import { bandLengths } from "./band.js";
import { makeRowInSlices } from "./source.js";

const TRIES = 1000, HOPELESS_TRIES = 30, SECONDS = 20, SLICE = 8;

/** Computes a candidate's first grid and score, in slices between which the page can draw. */
export async function scoreCandidate(source, stream, candidate) {
  const { frames, gzipBytes } = await makeRowInSlices(source, stream, candidate, {
    frames: source.scoredFrames, slice: SLICE,
  });
  return { candidate, first: frames[0], gzipBytes };
}

/**
 * Returns the first candidate within the band, or the nearest one when tries or time are used up.
 *
 * It calls tell(tried) after each candidate, and returns null if tell returns true.
 */
export async function findCandidate(source, stream, band, tell) {
  const [first, end] = bandLengths(band, source.scoredBytes), begun = performance.now();
  const distance = ({ gzipBytes }) => Math.max(first - gzipBytes, gzipBytes - end + 1, 0);
  const tries = first > source.noiseRatio * source.scoredBytes * 1.02 ? HOPELESS_TRIES : TRIES;
  let nearest = null;
  for (let tried = 1; ; tried++) {
    const found = await scoreCandidate(source, stream, randomCandidate());
    if (tell(tried)) return null;
    if (!nearest || distance(found) < distance(nearest)) nearest = found;
    const inside = distance(nearest) === 0;
    if (inside || tried === tries || performance.now() - begun > 1000 * SECONDS) return { ...nearest, tried, inside };
  }
}

function randomCandidate() {
  return BigInt(crypto.getRandomValues(new Uint32Array(1))[0]);
}
