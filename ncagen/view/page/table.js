// Tables, and shares of a whole as one bar.

import { make } from "./elements.js";

/** A table: names of columns, and rows whose cells are text or elements. Columns after the first ones are numbers. */
export function table(names, lines, texts = 1) {
  const cell = (tag, i, content) => make(tag, { class: i < texts ? null : "number" }, content);
  return make("table", {},
    make("thead", {}, make("tr", {}, names.map((name, i) => {
      const head = cell("th", i, name);
      head.scope = "col";
      return head;
    }))),
    make("tbody", {}, lines.map((line) => make("tr", {}, line.map((content, i) => cell("td", i, content))))));
}

/** Names and values as a list. */
export function pairs(entries) {
  const items = entries.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]);
  return make("dl", { class: "pairs" }, items);
}

/** Shares of a whole as one bar; each is [share, CSS class, name]. */
export function shareBar(shares) {
  const bar = make("div", { class: "shares", role: "img", "aria-label": shares.map(([share, , name]) => {
    return `${name} ${(100 * share).toFixed(1)} %`;
  }).join(", ") });
  for (const [share, kind, name] of shares) {
    const piece = make("i", { class: kind, title: `${name} ${(100 * share).toFixed(1)} %` });
    piece.style.width = `${100 * share}%`;
    bar.append(piece);
  }
  return bar;
}
