// The band that the paper found best for each kind of text, on the scale of ratios.

import { drawing, fitted, lineFrom, textAt } from "./chart.js";
import { make, shape } from "./elements.js";
import { addLabels } from "./labels.js";

const NAMES = { web: "Web text", math: "Math", code: "Code" };
const NOISE = 0.670; // with the default settings: deflate/noise.py
const LEFT = 84, RIGHT = 8, LINE = 46, TOP = 20;

export function drawDomains(place, data) {
  const domains = Object.entries(data.domains), height = TOP + LINE * domains.length + 24;
  fitted(place, (width) => drawing(width, height, "Best band for each kind of text"), (picture, width) => {
    const x = (ratio) => LEFT + ((width - LEFT - RIGHT) * ratio) / 0.72;
    const ticks = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];
    picture.append(...ticks.map((ratio) => lineFrom(x(ratio), TOP - 6, x(ratio), height - 22, "rule")));
    addLabels(picture, height - 6,
      ticks.map((ratio) => ({ text: ratio.toFixed(1), class: "tick", at: x(ratio) })), 0, width);
    domains.forEach(([domain, band], i) => {
      const [low, high] = data.named[band], end = Math.min(high, NOISE), y = TOP + LINE * i;
      picture.append(shape("rect", { x: x(low), y, width: x(end) - x(low), height: 32, rx: 3, class: `bar ${band}` }));
      const limits = high < 1 ? `${low} to ${high}` : `from ${low}`;
      addLabels(picture, y + 20, [
        { text: NAMES[domain] || domain, class: "name", at: 0, anchor: "start" },
        { text: `${band}, ${limits}`, class: "label halo", at: x(low) - 8, anchor: "end", reach: width },
      ], 0, width);
    });
    picture.append(lineFrom(x(NOISE), 2, x(NOISE), height - 22, "noise"),
      textAt(x(NOISE) - 6, 10, "pure noise", { "text-anchor": "end", class: "label" }));
  });
  const flags = domains.flatMap(([domain], i) => [i ? ", " : "", make("code", {}, `--for ${domain}`)]);
  place.append(make("figcaption", {}, "To build it: ", ...flags));
}
