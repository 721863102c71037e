// Draws all grids of a row side by side; pointing at a patch shows its token.

import { make } from "./elements.js";
import { whole } from "./format.js";
import { hideTip, showTip } from "./tooltip.js";

const HEAD = 18, GAP = 10; // above each grid, for its step, and between grids
const MOST_CELL = 8;
const MOST_FRAMES = 512; // of longer rows the first are drawn: a browser limits the height of a canvas

export class Film {
  constructor(source) {
    this.source = source;
    this.frames = Math.min(source.frames, MOST_FRAMES);
    this.row = null;
    this.place = null;
    this.canvas = make("canvas", {
      tabindex: 0, role: "application", "aria-label": "The row’s grids. Arrow keys move over the patches.",
      "aria-describedby": "patch", pointermove: (event) => this.point(event), pointerleave: () => this.leave(),
      pointerdown: (event) => this.point(event), keydown: (event) => this.key(event), blur: () => this.leave(),
    });
    this.readout = make("p", { id: "patch", class: "note readout", "aria-live": "polite" }, "\u00a0");
    const rest = this.frames < source.frames
      ? make("p", { class: "note" }, `The first ${this.frames} of ${whole(source.frames)} grids.`) : null;
    this.element = make("div", {}, make("div", { class: "film" }, this.canvas), rest, this.readout);
    new ResizeObserver(() => this.draw()).observe(this.canvas.parentElement);
  }

  show(row) {
    this.row = row;
    this.place = null;
    this.readout.textContent = "\u00a0";
    this.draw();
  }

  /** The positions of the grids: cells of whole pixels, in as few lines as possible, from edge to edge. */
  layout() {
    const { height, width } = this.source, { frames } = this, room = this.canvas.parentElement.clientWidth;
    const least = Math.max(room > 600 ? 104 : 72, width + GAP);
    const lines = Math.ceil(frames / Math.max(1, Math.floor(room / least))), across = Math.ceil(frames / lines);
    const fitting = Math.floor(((room + GAP) / across - GAP) / width);
    const cell = Math.max(1, Math.min(MOST_CELL, fitting)), [wide, high] = [width * cell, height * cell];
    const pace = wide + (across > 1 ? Math.min(24, Math.floor((room - across * wide) / (across - 1))) : 0);
    const line = high + HEAD + GAP;
    return { cell, wide, high, pace, line, across, room, all: lines * line - 8 };
  }

  corner(frame, { pace, line, across }) {
    return [(frame % across) * pace, Math.floor(frame / across) * line + HEAD];
  }

  draw() {
    if (!this.row || !this.canvas.parentElement.clientWidth) return;
    const { canvas, source } = this, at = this.layout(), scale = devicePixelRatio, context = canvas.getContext("2d");
    canvas.width = Math.round(at.room * scale);
    canvas.height = Math.round(at.all * scale);
    canvas.style.height = `${at.all}px`;
    context.scale(scale, scale);
    const style = getComputedStyle(canvas);
    context.font = "11px ui-monospace, monospace";
    this.row.frames.slice(0, this.frames).forEach((cells, frame) => {
      const [x, y] = this.corner(frame, at);
      context.fillStyle = style.color;
      const [word, number] = source.steps ? ["step ", source.stepOf(frame)] : ["grid ", frame];
      context.fillText(`${frame ? "" : word}${number}`, x, y - 5);
      source.draw(context, cells, x, y, at.wide, at.high);
    });
    if (this.place) this.mark(context, style, at);
  }

  mark(context, style, at) {
    const [x, y, wide, high] = this.box(at);
    context.lineWidth = 2;
    context.strokeStyle = style.getPropertyValue("--paper");
    context.strokeRect(x - 2, y - 2, wide + 4, high + 4);
    context.strokeStyle = style.getPropertyValue("--ink");
    context.strokeRect(x - 1, y - 1, wide + 2, high + 2);
  }

  /** The box of the patch that is pointed at: left, top, width, height. */
  box(at) {
    const { width, patch, patchHeight } = this.source, across = width / patch;
    const [wide, high] = [patch * at.cell, patchHeight * at.cell], [x, y] = this.corner(this.place.frame, at);
    return [x + (this.place.patch % across) * wide, y + Math.floor(this.place.patch / across) * high, wide, high];
  }

  point(event) {
    if (!this.row) return;
    const at = this.layout(), { height, width, patch, patchHeight } = this.source;
    const column = Math.floor(event.offsetX / at.pace), line = Math.floor(event.offsetY / at.line);
    const frame = line * at.across + column;
    const [left, top] = this.corner(frame, at), within = (v, size) => Math.floor(v / (size * at.cell));
    const [x, y] = [within(event.offsetX - left, patch), within(event.offsetY - top, patchHeight)];
    const inGrid = x >= 0 && x < width / patch && y >= 0 && y < height / patchHeight;
    if (column >= at.across || frame >= this.frames || !inGrid) return this.leave();
    this.select(frame, (y * width) / patch + x, event.clientX, event.clientY);
  }

  key(event) {
    const { width, patch } = this.source, across = width / patch, count = this.source.frameTokens - 2;
    const moves = {
      ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, PageDown: count, PageUp: -count,
    };
    if (event.key === "Escape") return this.leave();
    if (!(event.key in moves) || !this.row) return;
    event.preventDefault();
    const now = this.place ? this.place.frame * count + this.place.patch + moves[event.key] : 0;
    const next = Math.max(0, Math.min(this.frames * count - 1, now));
    this.place = { frame: Math.floor(next / count), patch: next % count };
    const rect = this.canvas.getBoundingClientRect(), [x, y, wide, high] = this.box(this.layout());
    this.select(this.place.frame, this.place.patch, rect.left + x + wide, rect.top + y + high);
  }

  select(frame, patch, x, y) {
    const { source } = this, token = this.row.patches[frame][patch], lines = source.tokenCells(token);
    const at = source.placeOf(frame, patch);
    this.place = { frame, patch };
    showTip(x, y, [`token ${token}`, ...lines, `grid ${at.grid}, patch ${at.patch}, position ${at.position}`]);
    const step = source.steps ? ` (step ${source.stepOf(at.grid)})` : "";
    this.readout.textContent = `Grid ${at.grid}${step}, patch ${at.patch}: token ${token}, `
      + `cells ${lines.join(" / ")}; position ${at.position} of the row.`;
    this.draw();
  }

  leave() {
    hideTip();
    if (!this.place) return;
    this.place = null;
    this.draw();
  }
}
