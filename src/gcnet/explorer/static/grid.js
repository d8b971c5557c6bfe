// Positions of a block's grid and places in the picture. A place is {x, y, t}, each from 0 to 1.

export class Grid {
  // size: [height, width] or [frames, height, width]; reach: the share of each axis that it covers
  constructor(size, reach = []) {
    const filled = (axes) => [1, 1, 1, ...axes].slice(-3);
    [this.frames, this.height, this.width] = filled(size);
    const [t, y, x] = filled(reach);
    this.reach = { x, y, t };
    this.count = this.frames * this.height * this.width;
  }

  cell({ x, y, t }) {
    const step = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    return {
      column: step(x / this.reach.x, this.width),
      row: step(y / this.reach.y, this.height),
      frame: step(t / this.reach.t, this.frames),
    };
  }

  index(place) {
    const { column, row, frame } = this.cell(place);
    return (frame * this.height + row) * this.width + column;
  }

  // The middle of the position that lies so many columns and rows from a place.
  moved(place, columns, rows) {
    const { column, row } = this.cell(place);
    const kept = (value, count) => Math.min(count - 1, Math.max(0, value));
    return {
      x: (kept(column + columns, this.width) + 0.5) / this.width,
      y: (kept(row + rows, this.height) + 0.5) / this.height,
      t: place.t,
    };
  }

  // How a reader counts: from 1.
  name(index) {
    const row = Math.floor(index / this.width) % this.height;
    const where = `row ${row + 1}, column ${(index % this.width) + 1}`;
    return this.frames > 1 ? `${where}, time ${Math.floor(index / (this.width * this.height)) + 1}` : where;
  }

  toString() {
    return [...(this.frames > 1 ? [this.frames] : []), this.height, this.width].join(" × ");
  }
}
