// Weights to colours, by one of three scales: linear from zero, linear from the lowest, or logarithmic.

const DECADES = 3; // of the logarithmic scale, below the highest weight

export class Scale {
  constructor(weights, tables, kind) {
    this.lowest = weights.reduce((low, weight) => Math.min(low, weight), Infinity);
    this.highest = weights.reduce((high, weight) => Math.max(high, weight), -Infinity);
    this.table = tables.sequential;
    [this.low, this.high] = [kind === "lowest" ? this.lowest : 0, this.highest];
    if (this.lowest < 0) {
      // dot products: the same to both sides of zero
      this.table = tables.diverging;
      this.high = Math.max(-this.lowest, this.highest);
      this.low = -this.high;
    } else if (kind === "logarithmic" && this.highest > 0) {
      this.logarithmic = true;
      this.low = this.high / 10 ** DECADES;
    }
  }

  get middle() {
    return this.logarithmic ? Math.sqrt(this.low * this.high) : (this.low + this.high) / 2;
  }

  colour(weight) {
    let share = this.high > this.low ? (weight - this.low) / (this.high - this.low) : 0;
    if (this.logarithmic) share = 1 + Math.log10(Math.max(weight, this.low) / this.high) / DECADES;
    return this.table[Math.min(255, Math.max(0, Math.floor(share * 256)))];
  }
}

// A canvas with a pixel per key.
export function mapCanvas(weights, width, height, scale) {
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  weights.forEach((weight, index) => {
    pixels.data.set(scale.colour(weight), 4 * index);
    pixels.data[4 * index + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
  return canvas;
}

// Colours as they look over a picture of middle grey.
export function drawLegend(canvas, scale, opacity) {
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(256, 1);
  scale.table.forEach((colour, index) => {
    pixels.data.set(colour.map((value) => opacity * value + (1 - opacity) * 128), 4 * index);
    pixels.data[4 * index + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
}
