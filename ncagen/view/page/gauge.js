// The gauge of one automaton: the scale of gzip ratios with the band, the row's score, the live one and pure noise.

import { bandLimits, bandTone } from "./band.js";
import { shape } from "./elements.js";
import { trim } from "./format.js";
import { addLabels } from "./labels.js";

const LEFT = 4, RIGHT = 196, LEAST_TOP = 0.72;

export class Gauge {
  constructor() {
    this.element = shape("svg", { class: "gauge", viewBox: "0 0 200 30", role: "img" });
  }

  /** Draws everything except the live score, after the gauge is in the page. band: its limits as ratios. */
  draw(band, ratio, noise, inside) {
    const { element } = this;
    this.top = Math.max(LEAST_TOP, noise * 1.08, ratio);
    const box = (low, high, kind) => {
      const [left, right] = [this.at(low), this.at(high)];
      return shape("rect", { x: left, y: 9, width: right - left, height: 8, class: kind });
    };
    this.mark = shape("circle", { cy: 13, r: 4.5, class: "live", visibility: "hidden" });
    element.setAttribute("aria-label", `Gzip ratio ${ratio.toFixed(3)}, ${inside ? "in" : "outside of"} the band `
      + `${bandLimits(band)}; pure noise scores ${noise.toFixed(3)}`);
    element.replaceChildren(
      box(0, this.top, "track"), box(band.low, band.high, `bar ${bandTone(band)}`),
      shape("line", { x1: this.at(noise), x2: this.at(noise), y1: 4, y2: 21, class: "noise" }),
      shape("path", { d: `M${this.at(ratio)},17 l4.5,-14 h-9 z`, class: "row" }), this.mark);
    addLabels(element, 29, [
      { text: trim(band.low), class: "tick", at: this.at(band.low) },
      { text: "noise", class: "tick", at: this.at(noise), anchor: "end", reach: 60 },
    ], 0, 200);
  }

  /** Moves the live mark; null hides it. */
  showLive(ratio) {
    this.mark.setAttribute("visibility", ratio === null ? "hidden" : "visible");
    if (ratio !== null) this.mark.setAttribute("cx", this.at(ratio));
  }

  at(ratio) {
    return LEFT + (RIGHT - LEFT) * Math.min(1, ratio / this.top);
  }
}
