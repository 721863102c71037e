// Positions the texts of a chart so that none covers another or crosses the edge.
//
// One line of text at a time. Texts are given in order of importance; one without room near its point is left out. Not
// covered: texts of several lines.

import { shape } from "./elements.js";

/**
 * Returns the left ends of texts on one line, null for those that are left out.
 *
 * wishes: [{at, width, anchor, reach}], the most important first: the point that the text belongs to, its width, which
 * part of it is at the point ("start", "middle" or "end"), and how far it may be moved (by default 0).
 */
export function placeLabels(wishes, left, right, gap = 4) {
  const taken = [];
  return wishes.map(({ at, width, anchor = "middle", reach = 0 }) => {
    const wish = { start: at, middle: at - width / 2, end: at - width }[anchor];
    const inside = Math.max(left, Math.min(wish, right - width));
    const besides = taken.flatMap((box) => [box.right + gap, box.left - gap - width]);
    const fits = (x) => x >= left - 1e-6 && x + width <= right + 1e-6
      && taken.every((box) => x + width + gap <= box.left + 1e-6 || x >= box.right + gap - 1e-6);
    const allowed = (x) => fits(x) && (x === inside || Math.abs(x - wish) <= reach);
    const [x = null] = [inside, ...besides].filter(allowed).sort((a, b) => Math.abs(a - wish) - Math.abs(b - wish));
    if (x !== null) taken.push({ left: x, right: x + width });
    return x;
  });
}

/** Adds texts on one line to a drawing that is already in the page. labels: wishes with `text` and `class`. */
export function addLabels(drawing, y, labels, left, right, gap = 4) {
  const texts = labels.map(({ text, class: kind }) => shape("text", { y, class: kind }, text));
  drawing.append(...texts);
  const widths = texts.map((text) => text.getComputedTextLength());
  placeLabels(labels.map((label, i) => ({ ...label, width: widths[i] })), left, right, gap).forEach((x, i) => {
    if (x === null) texts[i].remove();
    else texts[i].setAttribute("x", x.toFixed(2));
  });
}
