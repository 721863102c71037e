// Rank and frequency of tokens on logarithmic axes, with the line of Zipf's law.

import { bandTone } from "./band.js";
import { drawing, fitted, lineFrom, textAt } from "./chart.js";
import { make, shape } from "./elements.js";
import { superscript, trim, whole } from "./format.js";
import { addLabels } from "./labels.js";

const LEFT = 52, RIGHT = 22, TOP = 26, HEIGHT = 300, BOTTOM = HEIGHT - 44;

export function drawFrequencies(place, data) {
  // The curves are shares, so that bands of different sizes can be compared.
  const curves = Object.entries(data.figures).map(([name, f]) => {
    const points = f.frequencies.map(([rank, count]) => [rank, count / f.counted]);
    return { name, f, points, tone: bandTone(data.panels.find((band) => band.name === name)) };
  });
  const far = Math.max(10, ...curves.map(({ f }) => f.distinct)), zipf = zipfShare(far);
  const least = Math.min(zipf(far), ...curves.map(({ points }) => points.at(-1)[1]));
  const most = Math.max(zipf(1), ...curves.map(({ points }) => points[0][1]));
  const label = "Rank and frequency of tokens, with the line of Zipf's law";
  fitted(place, (width) => drawing(width, HEIGHT, label), (picture, width) => {
    const x = (rank) => LEFT + ((width - LEFT - RIGHT) * Math.log(rank)) / Math.log(far);
    const y = (share) => BOTTOM - ((BOTTOM - TOP) * Math.log(share / least)) / Math.log(most / least);
    drawAxes(picture, { far, least, most, width }, x, y);
    const point = ([rank, share]) => `${x(rank).toFixed(1)},${y(share).toFixed(1)}`;
    const path = (points) => `M${points.map(point).join("L")}`;
    picture.append(shape("path", { d: path([[1, zipf(1)], [far, zipf(far)]]), class: "zipf" }),
      ...curves.map(({ points, tone }) => shape("path", { d: path(points), class: `curve ${tone}` })));
  });
  const key = curves.map(({ name, tone }) => make("span", { class: `key ${tone}` }, name));
  const ids = whole(data.row.vocabulary - data.row.structural.length);
  const counted = curves.map(({ name, f }) => {
    return `${whole(f.distinct)} of ${ids} ids in ${whole(f.counted)} ${name} tokens`;
  });
  const left = data.row.structural.length ? " Delimiters are left out." : "";
  place.append(make("figcaption", {}, ...key, make("span", { class: "key zipf" }, "Zipf: share ∝ 1 / rank"),
    make("div", {}, `Tokens of the rows read: ${counted.join("; ")}.${left}`)));
}

/** The share of a rank by Zipf's law; the shares of all ranks add up to 1. */
function zipfShare(far) {
  let harmonic = 0;
  for (let rank = 1; rank <= far; rank++) harmonic += 1 / rank;
  return (rank) => 1 / harmonic / rank;
}

function drawAxes(picture, { far, least, most, width }, x, y) {
  const ticks = [];
  for (let rank = 1; rank <= far; rank *= 10) {
    picture.append(lineFrom(x(rank), TOP, x(rank), BOTTOM, "rule"));
    ticks.push({ text: whole(rank), class: "tick", at: x(rank) });
  }
  addLabels(picture, BOTTOM + 18, ticks, 0, width);
  for (let power = Math.ceil(Math.log10(least)); power <= Math.floor(Math.log10(most)); power++) {
    const share = 10 ** power, words = power >= -6 ? `${trim(100 * share)} %` : `10${superscript(power)}`;
    picture.append(lineFrom(LEFT, y(share), width - RIGHT, y(share), "rule"),
      textAt(LEFT - 8, y(share) + 4, words, { "text-anchor": "end", class: "tick" }));
  }
  picture.append(textAt(width - RIGHT, HEIGHT - 6, "rank of the token", { "text-anchor": "end", class: "label" }),
    textAt(0, 12, "share of all tokens", { class: "label" }));
}
