// The first tokens of a row as a model reads them: the tokens seen at a position, and the token to predict.

import { make } from "./elements.js";

const SMALL = 200, AROUND = 100; // tokens of a frame shown whole, and around the end of the first of larger ones

export class ModelView {
  /** format: the page's `row`, the token format of rows. source: a twin, or null. */
  constructor(place, format, source) {
    this.format = format;
    this.source = source;
    this.slider = make("input", { type: "range", min: 1, step: 1, input: () => this.mark(Number(this.slider.value)) });
    this.readout = make("p", { class: "readout", role: "status" });
    this.list = make("div", { class: "grids" });
    place.append(
      make("div", { class: "toolbar" }, make("label", { class: "wide" }, "Place ", this.slider)),
      this.readout,
      make("p", { class: "legend" }, make("span", { class: "chip masked" }, "masked: no loss"),
        make("span", { class: "chip" }, "predicted"), make("span", { class: "chip target" }, "to predict now"),
        make("span", { class: "chip unseen" }, "not seen yet")),
      this.list);
  }

  show(row) {
    const { source, format } = this, each = source ? source.frameTokens : row.tokens.length;
    const small = each <= SMALL || !source, from = small ? 0 : each - AROUND;
    const shown = Math.min(source && small ? 3 * each : from + SMALL, format.seqLen + 1, row.tokens.length);
    Object.assign(this, { row, from, chips: [] });
    this.list.replaceChildren();
    if (from) this.list.append(make("p", { class: "note" }, `The first ${from} tokens are not shown.`));
    for (let frame = 0; frame * each < shown; frame++) {
      const first = Math.max(from, frame * each), end = Math.min((frame + 1) * each, shown), chips = [];
      for (let i = first; i < end; i++) chips.push(this.chip(i));
      const title = this.title(frame, first, end);
      this.list.append(make("div", { class: "grid" }, title, make("div", { class: "chips" }, chips)));
    }
    this.list.append(make("p", { class: "note" }, this.rest()));
    this.slider.min = Math.max(1, from);
    this.slider.max = shown - 1;
    this.mark(Math.min(shown - 1, source ? each + Math.min(50, Math.ceil(each / 2)) : Math.ceil(shown / 2)));
  }

  title(frame, first, end) {
    if (!this.source) return make("h4", {}, `Tokens ${first} to ${end - 1}`);
    const words = frame ? "predicted from everything before it" : "given, masked: nothing could predict it";
    return make("h4", {}, this.source.frameName(frame), make("span", {}, words));
  }

  rest() {
    const { tokens, seqLen } = this.format, unused = tokens - seqLen - 1;
    const left = unused === 1 ? "token is" : `${unused} tokens are`;
    const last = this.source ? `grid ${this.source.frames - 1}` : `token ${tokens - 1}`;
    return `… and so on to ${last}${unused > 0 ? `; the last ${left} neither read nor predicted.` : "."}`;
  }

  chip(i) {
    const token = this.row.tokens[i], border = this.format.structural.includes(token);
    const kind = `chip${i < this.format.unpredictable ? " masked" : ""}${border ? " border" : ""}`;
    const chip = make("button", { type: "button", class: kind, tabindex: -1, click: () => i && this.mark(i) });
    if (border && this.source) chip.append(this.source.delimiterName(token));
    else if (this.source) {
      const picture = make("canvas", { "aria-hidden": "true" });
      this.source.drawToken(picture, token);
      chip.append(picture);
    }
    chip.append(make("span", { class: "id" }, String(token)));
    this.chips.push(chip);
    return chip;
  }

  mark(place) {
    this.slider.value = place;
    this.chips.forEach((chip, i) => {
      chip.classList.toggle("target", this.from + i === place);
      chip.classList.toggle("unseen", this.from + i > place);
    });
    const seen = place === 1 ? "1 token" : `${place} tokens`;
    this.readout.textContent = `Seen: ${seen}. To predict: ${this.row.tokens[place]}, ${this.kind(place)}. `
      + this.counting(place);
  }

  kind(place) {
    const token = this.row.tokens[place], border = this.format.structural.includes(token);
    if (!this.source) return border ? "a delimiter" : "a token";
    return border ? `${this.source.delimiterName(token)} of grid` : "a patch";
  }

  counting(place) {
    if (place >= this.format.unpredictable) return "It counts.";
    const where = this.source ? "It is of the first grid" : "Nothing before it predicts it";
    return `${where}: its label is −100, it does not count.`;
  }
}
