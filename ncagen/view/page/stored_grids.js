// The grids of rows whose tokens are stored in the page, for film.js. Grids of one line of cells are one grid with time
// downwards.
//
// Not covered: sources that compute their rows (source.js).

import { drawGrid } from "./grid.js";

export class StoredGrids {
  /** grids: the object `grids` in the page's data, see `grid_shape` in webpage.py. */
  constructor(grids) {
    const { height, width, patch, frames } = grids;
    this.stored = grids;
    this.gridTokens = grids.patches + 2;
    this.lines = height === 1;
    this.steps = grids.steps;
    this.patchHeight = Math.min(patch, height);
    Object.assign(this, { width, patch, height: this.lines ? frames : height, frames: this.lines ? 1 : frames });
    this.frameTokens = (this.height / this.patchHeight) * (width / patch) + 2;
  }

  /** Reads a row's tokens, or the first of them: whole grids only. */
  row(tokens) {
    const count = Math.floor(tokens.length / this.gridTokens), patches = [];
    for (let i = 0; i < count; i++) patches.push(tokens.slice(i * this.gridTokens + 1, (i + 1) * this.gridTokens - 1));
    const frames = patches.map((some) => this.cellsOf(some));
    if (!this.lines) {
      this.frames = count;
      return { tokens, patches, frames };
    }
    this.height = count;
    return { tokens, patches: [patches.flat()], frames: [frames.flatMap((cells) => [...cells])] };
  }

  cellsOf(patches) {
    const { width, patch, patchHeight } = this, { states, height } = this.stored, across = width / patch;
    const cells = new Uint8Array(height * width);
    patches.forEach((token, i) => {
      const corner = Math.floor(i / across) * patchHeight * width + (i % across) * patch;
      for (let digit = 0, left = token; digit < patch * patchHeight; digit++, left = Math.floor(left / states)) {
        cells[corner + Math.floor(digit / patch) * width + (digit % patch)] = left % states;
      }
    });
    return cells;
  }

  /** The step of a stored grid. */
  stepOf(grid) {
    return this.stored.warmup + this.stored.stride * grid;
  }

  /** Where a patch of a frame is in the row; of lines, the frame is all grids. */
  placeOf(frame, patch) {
    const { patches } = this.stored, grid = this.lines ? Math.floor(patch / patches) : frame;
    return { grid, patch: patch % patches, position: grid * this.gridTokens + 1 + (patch % patches) };
  }

  draw(context, cells, x, y, width, height) {
    drawGrid(context, cells, this, this.stored.colours, x, y, width, height);
  }

  /** Returns the cells of a patch as lines of numbers, one for each row of cells. */
  tokenCells(token) {
    const { states } = this.stored, lines = [];
    for (let y = 0, left = token; y < this.patchHeight; y++) {
      const cells = [];
      for (let x = 0; x < this.patch; x++, left = Math.floor(left / states)) cells.push(left % states);
      lines.push(cells.join(" "));
    }
    return lines;
  }
}
