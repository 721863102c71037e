// Shared by all charts: SVG drawings that are drawn again when the width of their element changes.

import { shape } from "./elements.js";

/** A drawing that scales with the page. Width and height are in units of the drawing. */
export function drawing(width, height, label) {
  return shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

export function textAt(x, y, words, attributes = {}) {
  return shape("text", { x, y, ...attributes }, words);
}

export function lineFrom(x1, y1, x2, y2, kind) {
  return shape("line", { x1, y1, x2, y2, class: kind });
}

/**
 * Keeps a drawing as wide as the element `place`, so that its text keeps its size.
 *
 * start(width) returns an empty drawing. fill(drawing, width) draws into it, after it is in the page and texts can be
 * measured.
 */
export function fitted(place, start, fill) {
  let width = 0;
  const update = () => {
    const now = Math.round(place.clientWidth);
    if (!now || now === width) return;
    width = now;
    place.querySelector("svg")?.remove();
    const picture = start(width);
    place.prepend(picture);
    fill(picture, width);
  };
  new ResizeObserver(update).observe(place);
  update();
}
