// Shows single rows of the dataset, each computed here from its candidate and compared with the stored checksum.

import { crc32 } from "./crc32.js";
import { make } from "./elements.js";
import { Film } from "./film.js";
import { whole } from "./format.js";
import { STREAMS } from "./philox.js";
import { RowPicker } from "./row_picker.js";
import { makeRowInSlices } from "./source.js";

export class ComputedRows {
  /** onRow(row) is called with each row that is shown. */
  constructor(place, data, source, onRow) {
    this.figures = data.figures;
    this.stream = STREAMS[data.split];
    this.source = source;
    this.onRow = onRow;
    this.turn = 0;
    const counts = Object.entries(data.figures).map(([name, { sample }]) => [name, sample.numbers.length]);
    this.picker = new RowPicker(Object.fromEntries(counts), (band, i) => this.show(band, i));
    this.title = make("output", { class: "title" });
    this.film = new Film(source);
    this.check = make("p", { class: "note", role: "status" });
    place.append(make("p", {},
      "A row, grid after grid. Point at a patch, or move over them with the arrow keys, to see the token it is."),
    this.picker.element, this.title, this.film.element, this.check);
    this.picker.start();
  }

  async show(band, i) {
    const { sample, rows } = this.figures[band], { source } = this, turn = ++this.turn;
    const [number, candidate, gzipBytes, crc] = ["numbers", "candidates", "gzip_bytes", "crc32"].map((name) => {
      return sample[name][i];
    });
    this.title.textContent = `Row ${whole(number)} of ${whole(rows)} (${band}): candidate ${candidate}, `
      + `${whole(gzipBytes)} gzip bytes, ratio ${(gzipBytes / source.scoredBytes).toFixed(3)}`;
    this.check.textContent = "Computing …";
    const stale = () => turn !== this.turn;
    const row = await makeRowInSlices(source, this.stream, BigInt(candidate), { stale });
    if (!row || stale()) return;
    this.tell(row, crc32(row.tokens) === crc && row.gzipBytes === gzipBytes);
    this.row = row;
    this.film.show(row);
    this.onRow(row);
  }

  tell(row, same) {
    this.check.className = same ? "note good" : "note bad";
    this.check.textContent = same
      ? `Computed here from the candidate’s number: all ${whole(row.tokens.length)} tokens and the gzip length are `
        + "those of the stored row."
      : "What is computed here is not what is stored: run ncagen verify --regenerate all.";
  }

  draw() {
    this.film.draw();
  }
}
