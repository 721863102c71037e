// Opens the source of rows: its JavaScript twin computes them. Without a twin, the page can only show the tokens that
// webpage.py stored in it.
//
// A twin is a class; an object of it is the source with some settings. It is made from the `twin` object in the page's
// data, and has these members:
//
//   exact                          whether this browser's arithmetic gives the source's rows, by checksums of Python
//   controls                       settings to choose from: {name, label, options: [[text of the value, label], ...]}
//   values                         name -> text of each of these settings, and of the seed
//   changed(values)                the source with other settings
//   row(stream, candidate, frames) a generator that yields after each step of its work and returns the row's first
//                                  frames: {frames, patches, tokens, gzipBytes}; all frames if left out
//   play(stream, candidate, cells) an automaton at the first frame: {cells, step, advance()}
//   isFrame(step), stepOf(frame)   which steps are recorded
//   steps                          true: frames are at steps, in their order (those of stored rows may not be)
//   placeOf(frame, patch)          {grid, patch, position}: where a patch of a frame is in the row
//   patchTokens(cells)             the tokens of a frame, without delimiters
//   score(patches)                 the gzip length of some frames
//   frames, scoredFrames           frames of a row, and how many of them are scored
//   scoredBytes, noiseRatio        the denominator of the ratio, and the ratio of pure noise
//   frameTokens, frameName(i)      tokens of a frame, with a delimiter before and after it; the name of frame i
//   delimiterName(token)           the name of a delimiter
//   height, width                  cells of a frame
//   patchHeight, patch             cells of a token, down and across
//   draw(context, cells, x, y, w, h), drawToken(canvas, token), tokenCells(token)
//                                  a frame and a token as pictures, and a token's cells as lines of text
//   description, format            texts: the content of a row, and its token format
//
// stream: a number. candidate: a BigInt. cells: Uint8Array[height * width], row by row. tokens: Uint32Array.

import { Nca } from "./nca.js";

const TWINS = { nca: Nca };

/** Returns the dataset's source with the dataset's settings; null if it has no twin. */
export function openSource(data) {
  return data.twin ? new TWINS[data.source](data.twin) : null;
}

/** Computes a row, or its first frames. */
export function makeRow(source, stream, candidate, frames) {
  const work = source.row(stream, candidate, frames);
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/** The same in slices of some milliseconds that let the page draw; null as soon as `stale` returns true. */
export async function makeRowInSlices(source, stream, candidate, { frames, slice = 12, stale = () => false } = {}) {
  const work = source.row(stream, candidate, frames);
  for (let begun = performance.now(); ; ) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() - begun < slice) continue;
    await new Promise((resume) => setTimeout(resume));
    if (stale()) return null;
    begun = performance.now();
  }
}
