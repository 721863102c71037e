// Controls that choose a row: its band, the previous and the next row, and a slider over all listed rows.

import { make } from "./elements.js";

export class RowPicker {
  /** counts: rows of each band, by its name. choose(band, i) is called for each choice; `start` makes the first. */
  constructor(counts, choose) {
    this.counts = counts;
    this.tell = choose;
    this.at = 0;
    const names = Object.keys(counts);
    this.band = make("select", { change: () => this.choose(0) }, names.map((name) => make("option", {}, name)));
    const slide = () => this.choose(Number(this.slider.value));
    this.slider = make("input", { type: "range", min: 0, step: 1, input: slide });
    this.element = make("div", { class: "toolbar" },
      names.length > 1 ? make("label", {}, "Band ", this.band) : null,
      make("button", { type: "button", click: () => this.choose(this.at - 1) }, "Previous"),
      make("button", { type: "button", click: () => this.choose(this.at + 1) }, "Next"),
      make("label", { class: "wide" }, "Row ", this.slider));
  }

  start() {
    this.choose(0);
  }

  /** Row i of the chosen band, wrapped around at both ends. */
  choose(i) {
    const count = this.counts[this.band.value];
    this.at = (i + count) % count;
    this.slider.max = count - 1;
    this.slider.value = this.at;
    this.tell(this.band.value, this.at);
  }
}
