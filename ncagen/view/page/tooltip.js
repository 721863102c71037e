// The tooltip: lines of text near a point of the window, kept inside it.

import { byId, make } from "./elements.js";

export function showTip(x, y, lines) {
  const tip = byId("tip");
  tip.replaceChildren(...lines.map((line) => make("div", {}, line)));
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect(), gap = 14;
  const left = x + gap + width > innerWidth ? x - gap - width : x + gap;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - width - 4))}px`;
  tip.style.top = `${y + gap + height > innerHeight ? Math.max(4, y - gap - height) : y + gap}px`;
}

export function hideTip() {
  byId("tip").hidden = true;
}
