// Shows rows of a dataset whose source has no JavaScript twin: their stored tokens, as grids too where they are grids,
// and their other columns.

import { make } from "./elements.js";
import { Film } from "./film.js";
import { whole } from "./format.js";
import { RowPicker } from "./row_picker.js";
import { StoredGrids } from "./stored_grids.js";
import { table } from "./table.js";

export class StoredRows {
  /** onRow(row) is called with each row that is shown. */
  constructor(place, data, onRow) {
    this.data = data;
    this.onRow = onRow;
    const counts = Object.entries(data.figures).map(([name, { stored }]) => [name, stored.numbers.length]);
    this.picker = new RowPicker(Object.fromEntries(counts), (band, i) => this.show(band, i));
    this.title = make("output", { class: "title" });
    this.facts = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Stored facts of the row" });
    this.strip = make("div", { class: "chips strip", role: "region", "aria-label": "Tokens of the row" });
    this.note = make("p", { class: "note", role: "status" });
    place.append(make("p", {}, "The tokens of a row as they are stored. Delimiters are shaded; tokens without a loss "
      + "are hatched."), this.picker.element, this.title, this.facts, this.strip, this.note);
    if (data.grids) {
      this.grids = new StoredGrids(data.grids);
      this.film = new Film(this.grids);
      this.facts.after(this.film.element);
    }
    this.picker.start();
  }

  show(band, i) {
    const { stored, rows } = this.data.figures[band], { row: format } = this.data, tokens = stored.tokens[i];
    this.title.textContent = `Row ${whole(stored.numbers[i])} of ${whole(rows)} (${band})`;
    const names = Object.keys(stored.facts);
    this.facts.replaceChildren(table(names, [names.map((name) => stored.facts[name][i])], 0));
    this.strip.replaceChildren(...tokens.map((token, at) => {
      const kind = `chip plain${at < format.unpredictable ? " masked" : ""}`;
      const border = format.structural.includes(token) ? " border" : "";
      return make("span", { class: kind + border, title: `position ${at}` }, String(token));
    }));
    const all = tokens.length === format.tokens;
    this.note.textContent = all ? `All ${whole(tokens.length)} tokens.`
      : `The first ${whole(tokens.length)} of ${whole(format.tokens)} tokens.`;
    this.row = this.grids ? this.grids.row(tokens) : { tokens };
    if (this.film) this.film.show(this.row);
    this.onRow(this.row);
  }

  draw() {
    if (this.film) this.film.draw();
  }
}
