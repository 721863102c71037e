// Rows of the dataset one by one, each computed here from its candidate and held against what is stored; and the same
// row as the tokens that a model gets.
"use strict";

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

/** CRC-32 of tokens as little-endian 32-bit words. */
function crc32(tokens) {
  let crc = -1;
  for (const token of tokens) {
    for (let shift = 0; shift < 32; shift += 8) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ (token >>> shift)) & 255];
  }
  return ~crc >>> 0;
}

/** A row of the sample, as makeRow gives it, in slices that let the page draw; `stale` ends it early. */
async function makeRowSlowly(settings, stream, candidate, stale) {
  const grids = [];
  let begun = performance.now();
  for (const cells of trajectory(settings, stream, candidate, settings.frames)) {
    if (cells) grids.push(cells);
    if (performance.now() - begun < 12) continue;
    await new Promise((go) => setTimeout(go));
    if (stale()) return null;
    begun = performance.now();
  }
  const patches = grids.map((cells) => patchTokens(settings, cells));
  const gzipBytes = gzipLength(scoredBytes(patches.slice(0, SCORED_GRIDS)));
  return { grids, patches, tokens: rowTokens(settings, patches), gzipBytes };
}

/** Chooses a row, draws it as a film of grids, and tells whom it may concern. */
class RowBrowser {
  constructor(place, data, onRow) {
    this.data = data;
    this.onRow = onRow;
    this.settings = data.settings;
    this.colours = data.choices.states[data.settings.states].colours;
    const names = Object.keys(data.figures);
    this.band = make("select", { change: () => this.choose(0) }, names.map((name) => make("option", {}, name)));
    const slide = () => this.choose(Number(this.slider.value));
    this.slider = make("input", { type: "range", min: 0, step: 1, input: slide });
    this.title = make("output", { class: "title" });
    this.check = make("p", { class: "note", role: "status" });
    this.canvas = make("canvas", {
      tabindex: 0, role: "application", "aria-label": "The row’s grids. Arrow keys move over the patches.",
      "aria-describedby": "patch", pointermove: (event) => this.point(event), pointerleave: () => this.leave(),
      pointerdown: (event) => this.point(event), keydown: (event) => this.key(event), blur: () => this.leave(),
    });
    this.readout = make("p", { id: "patch", class: "note readout", "aria-live": "polite" }, "\u00a0");
    place.append(
      make("div", { class: "toolbar" },
        names.length > 1 ? make("label", {}, "Band ", this.band) : null,
        make("button", { type: "button", click: () => this.choose(this.at - 1) }, "Previous"),
        make("button", { type: "button", click: () => this.choose(this.at + 1) }, "Next"),
        make("label", { class: "wide" }, "Row ", this.slider)),
      this.title, make("div", { class: "film" }, this.canvas), this.readout, this.check);
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
    this.choose(0);
  }

  async choose(i) {
    const { sample, rows } = this.data.figures[this.band.value], count = sample.numbers.length;
    this.at = (i + count) % count;
    this.slider.max = count - 1;
    this.slider.value = this.at;
    const [number, candidate, gzipBytes, crc] = ["numbers", "candidates", "gzip_bytes", "crc32"].map((name) => {
      return sample[name][this.at];
    });
    const turn = (this.turn = (this.turn || 0) + 1), bytes = scoredLength(this.settings);
    this.title.textContent = `Row ${whole(number)} of ${whole(rows)} (${this.band.value}): candidate ${candidate}, `
      + `${whole(gzipBytes)} gzip bytes, ratio ${(gzipBytes / bytes).toFixed(3)}`;
    this.check.textContent = "Computing …";
    const row = await makeRowSlowly(this.settings, STREAMS.train, BigInt(candidate), () => turn !== this.turn);
    if (!row) return;
    const same = crc32(row.tokens) === crc && row.gzipBytes === gzipBytes;
    this.check.className = same ? "note good" : "note bad";
    this.check.textContent = same
      ? `Computed here from the candidate’s number: all ${whole(row.tokens.length)} tokens and the gzip length are `
        + "those of the stored row."
      : "What is computed here is not what is stored: run ncagen verify --regenerate all.";
    this.row = row;
    this.place = null;
    this.readout.textContent = "\u00a0";
    this.draw();
    this.onRow(row);
  }

  /** Where the grids lie: cells of whole pixels, in as few lines as grids of some size need, from edge to edge. */
  layout() {
    const { grid, frames } = this.settings, width = this.canvas.parentElement.clientWidth, head = 18;
    const least = Math.max(width > 600 ? 104 : 72, grid + 10);
    const lines = Math.ceil(frames / Math.max(1, Math.floor(width / least))), across = Math.ceil(frames / lines);
    const cell = Math.max(1, Math.min(8, Math.floor(((width + 10) / across - 10) / grid))), size = grid * cell;
    const pace = size + (across > 1 ? Math.min(24, Math.floor((width - across * size) / (across - 1))) : 0);
    return { cell, size, pace, head, across, width, height: lines * (size + head + 10) - 8 };
  }

  corner(frame, { size, pace, head, across }) {
    return [(frame % across) * pace, Math.floor(frame / across) * (size + head + 10) + head];
  }

  draw() {
    if (!this.row || !this.canvas.parentElement.clientWidth) return;
    const { canvas, settings } = this, at = this.layout(), scale = devicePixelRatio, context = canvas.getContext("2d");
    canvas.width = Math.round(at.width * scale);
    canvas.height = Math.round(at.height * scale);
    canvas.style.height = `${at.height}px`;
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    context.font = "11px ui-monospace, monospace";
    this.row.grids.forEach((cells, frame) => {
      const [x, y] = this.corner(frame, at);
      context.fillStyle = style.color;
      context.fillText(`${frame ? "" : "step "}${stepOf(settings, frame)}`, x, y - 5);
      drawGrid(context, cells, settings.grid, this.colours, x, y, at.size);
    });
    if (this.place) {
      const [x, y, size] = this.box(at);
      context.lineWidth = 2;
      context.strokeStyle = style.getPropertyValue("--paper");
      context.strokeRect(x - 2, y - 2, size + 4, size + 4);
      context.strokeStyle = style.getPropertyValue("--ink");
      context.strokeRect(x - 1, y - 1, size + 2, size + 2);
    }
  }

  /** The square of the patch that is pointed at. */
  box(at) {
    const { grid, patch } = this.settings, side = grid / patch, size = patch * at.cell;
    const [x, y] = this.corner(this.place.frame, at);
    return [x + (this.place.patch % side) * size, y + Math.floor(this.place.patch / side) * size, size];
  }

  point(event) {
    if (!this.row) return;
    const at = this.layout(), { grid, patch, frames } = this.settings, side = grid / patch;
    const column = Math.floor(event.offsetX / at.pace), line = Math.floor(event.offsetY / (at.size + at.head + 10));
    const frame = line * at.across + column;
    const [x, y] = this.corner(frame, at), within = (v) => Math.floor(v / (patch * at.cell));
    const [across, down] = [within(event.offsetX - x), within(event.offsetY - y)];
    const inside = column < at.across && frame < frames && Math.min(across, down) >= 0 && Math.max(across, down) < side;
    if (!inside) return this.leave();
    this.select(frame, down * side + across, event.clientX, event.clientY);
  }

  key(event) {
    const { grid, patch, frames } = this.settings, side = grid / patch, count = side * side;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: side, ArrowUp: -side, PageDown: count, PageUp: -count };
    if (event.key === "Escape") return this.leave();
    if (!(event.key in moves) || !this.row) return;
    event.preventDefault();
    const now = this.place ? this.place.frame * count + this.place.patch + moves[event.key] : 0;
    const next = Math.max(0, Math.min(frames * count - 1, now));
    this.place = { frame: Math.floor(next / count), patch: next % count };
    const rect = this.canvas.getBoundingClientRect(), [x, y, size] = this.box(this.layout());
    this.select(this.place.frame, this.place.patch, rect.left + x + size, rect.top + y + size);
  }

  select(frame, patch, x, y) {
    this.place = { frame, patch };
    const token = this.row.patches[frame][patch], lines = patchLines(this.settings, token);
    const index = frame * (this.row.patches[frame].length + 2) + 1 + patch;
    showTip(x, y, [`token ${token}`, ...lines, `grid ${frame}, patch ${patch}, place ${index}`]);
    this.readout.textContent = `Grid ${frame} (step ${stepOf(this.settings, frame)}), patch ${patch}: token ${token}, `
      + `cells ${lines.join(" / ")}; place ${index} of the row.`;
    this.draw();
  }

  leave() {
    hideTip();
    if (!this.place) return;
    this.place = null;
    this.draw();
  }
}

/** The first grids of a row as tokens, with what a model has seen at a place, and what it must say next. */
class ModelView {
  constructor(place, data) {
    this.data = data;
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
    const { settings } = this.data, each = row.patches[0].length + 2;
    // Three grids, or, of larger ones, what lies around the end of the first.
    const small = each <= 200, from = small ? 0 : each - 100, end = small ? 3 * each : each + 100;
    const shown = Math.min(end, settings.seqLen + 1);
    Object.assign(this, { row, each, from, chips: [] });
    this.list.replaceChildren();
    if (from) this.list.append(make("p", { class: "note" }, `The first ${from} tokens are left out here.`));
    for (let frame = 0; frame * each < shown; frame++) {
      const words = frame ? "predicted from everything before it" : "given, masked: nothing could predict it";
      const chips = [];
      for (let i = Math.max(from, frame * each); i < Math.min((frame + 1) * each, shown); i++) chips.push(this.chip(i));
      const title = make("h4", {}, `Grid ${frame}, step ${stepOf(settings, frame)}`, make("span", {}, words));
      this.list.append(make("div", { class: "grid" }, title, make("div", { class: "chips" }, chips)));
    }
    const unused = row.tokens.length - settings.seqLen - 1, left = unused === 1 ? "token is" : `${unused} tokens are`;
    this.list.append(make("p", { class: "note" }, `… and so on to grid ${settings.frames - 1}`
      + (unused ? `; the last ${left} neither read nor predicted.` : ".")));
    this.slider.min = Math.max(1, from);
    this.slider.max = shown - 1;
    this.mark(Math.min(shown - 1, each + Math.min(50, Math.ceil(each / 2))));
  }

  chip(i) {
    const token = this.row.tokens[i], { settings, choices } = this.data, border = token - patchIds(settings);
    const kind = `chip${i < this.each ? " masked" : ""}${border >= 0 ? " border" : ""}`;
    const chip = make("button", { type: "button", class: kind, tabindex: -1, click: () => i && this.mark(i) });
    if (border >= 0) chip.append(border ? "end" : "start", make("span", { class: "id" }, String(token)));
    else {
      const picture = make("canvas", { width: settings.patch, height: settings.patch, "aria-hidden": "true" });
      const cells = patchLines(settings, token).flatMap((line) => line.split(" ").map(Number));
      const { colours } = choices.states[settings.states];
      drawGrid(picture.getContext("2d"), cells, settings.patch, colours, 0, 0, settings.patch);
      chip.append(picture, make("span", { class: "id" }, String(token)));
    }
    this.chips.push(chip);
    return chip;
  }

  mark(place) {
    this.slider.value = place;
    this.chips.forEach((chip, i) => {
      chip.classList.toggle("target", this.from + i === place);
      chip.classList.toggle("unseen", this.from + i > place);
    });
    const token = this.row.tokens[place], first = patchIds(this.data.settings);
    const what = token === first ? "start of grid" : token === first + 1 ? "end of grid" : "a patch";
    const counts = place < this.each ? "It is of the first grid: its label is −100, it does not count." : "It counts.";
    const seen = place === 1 ? "1 token" : `${place} tokens`;
    this.readout.textContent = `Seen: ${seen}. To predict: ${token}, ${what}. ${counts}`;
  }
}
