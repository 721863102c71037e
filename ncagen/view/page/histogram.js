// The histogram of gzip ratios: a bar for each hundredth, the limits of the known bands, and the ratio of pure noise.

import { bandTone } from "./band.js";
import { drawing, fitted, lineFrom } from "./chart.js";
import { make, shape } from "./elements.js";
import { whole } from "./format.js";
import { addLabels } from "./labels.js";

const HEIGHT = 220, TOP = 26, BOTTOM = 172;

/** noise: the ratio of pure noise, or null where it is not known. */
export function drawHistogram(place, data, noise) {
  const { figures } = data;
  const drawn = Object.entries(figures).map(([name, f]) => {
    return { tone: bandTone(data.panels.find((band) => band.name === name)), counts: f.histogram, looked: f.looked };
  });
  const longest = Math.max(...drawn.map(({ counts }) => counts.length));
  const chart = { data, drawn, noise, last: Math.max(longest, noise === null ? 0 : Math.ceil(noise * 100) + 3) };
  const words = noise === null ? "" : `; pure noise scores ${noise.toFixed(3)}`;
  fitted(place, (width) => drawing(width, HEIGHT, `Histogram of gzip ratios${words}`), (picture, width) => {
    const x = (ratio) => (ratio * 100 * width) / chart.last;
    drawBands(picture, chart, x, width);
    drawBars(picture, chart, x);
    drawAxis(picture, chart, x, width);
  });
  const looked = Object.entries(figures).map(([name, f]) => `${whole(f.looked)} of ${whole(f.rows)} ${name} rows`);
  place.append(make("figcaption", {},
    `Share of rows by ratio, a bar for each hundredth: ${looked.join(", ")} read, spread evenly.`));
}

/** The known bands that begin within the chart, with their names. */
function drawBands(picture, { data, last }, x, width) {
  const bands = Object.entries(data.named).filter(([, [low]]) => low < last / 100);
  const zones = bands.map(([name, [low, high]]) => ({ name, left: x(low), right: x(Math.min(high, last / 100)) }));
  for (const { name, left, right } of zones) {
    const box = { x: left, y: TOP, width: right - left, height: BOTTOM - TOP };
    picture.append(shape("rect", { ...box, class: `zone ${name}` }));
  }
  addLabels(picture, 14, zones.map(({ name, left, right }) => {
    return { text: name, class: "label", at: (left + right) / 2, reach: (right - left) / 2 };
  }), 0, width);
}

function drawBars(picture, { drawn, last }, x) {
  const shares = Array.from({ length: last }, (_, i) => drawn.map(({ counts, looked }) => (counts[i] || 0) / looked));
  const most = Math.max(...shares.flat());
  shares.forEach((some, i) => {
    let y = BOTTOM;
    some.forEach((share, k) => {
      const tall = (share / most) * (BOTTOM - TOP - 8);
      if (!tall) return;
      y -= tall;
      const title = shape("title", {}, `ratio ${(i / 100).toFixed(2)}: ${whole(drawn[k].counts[i])} rows`);
      const box = { x: x(i / 100) + 0.5, y, width: Math.max(1, x(0.01) - 1), height: tall };
      picture.append(shape("rect", { ...box, class: `bar ${drawn[k].tone}` }, title));
    });
  });
}

/** The axis with its numbers, the line of pure noise, which no number may cover, and their meaning. */
function drawAxis(picture, { noise, last }, x, width) {
  const wide = width > 520, ticks = [];
  picture.append(lineFrom(0, BOTTOM, width, BOTTOM, "axis"));
  for (let i = 0; i < last; i += wide ? 5 : 10) {
    ticks.push({ text: (i / 100).toFixed(wide ? 2 : 1), class: "tick", at: x(i / 100) });
  }
  const words = [{ text: "gzip ratio", class: "label", at: 0, anchor: "start" }];
  if (noise !== null) {
    picture.append(lineFrom(x(noise), TOP, x(noise), BOTTOM + 28, "noise"));
    const text = `pure noise ${noise.toFixed(3)}`;
    words.unshift({ text, class: "label", at: x(noise), anchor: "end", reach: width });
    ticks.unshift({ text: "", class: "tick", at: x(noise) });
  }
  addLabels(picture, BOTTOM + 18, ticks, 0, width);
  addLabels(picture, BOTTOM + 42, words, 0, width, 12);
}
