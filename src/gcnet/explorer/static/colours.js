// Weights to colours: from zero, or from the lowest, to the highest; around zero where some are negative.

export class Scale {
  constructor(weights, tables, fromLowest) {
    let low = Infinity, high = -Infinity;
    for (const weight of weights) {
      if (weight < low) low = weight;
      if (weight > high) high = weight;
    }
    this.lowest = low;
    this.highest = high;
    if (low < 0) {
      high = Math.max(-low, high);
      low = -high;
      this.table = tables.diverging;
    } else {
      low = fromLowest ? low : 0;
      this.table = tables.sequential;
    }
    this.low = low;
    this.high = high;
  }

  colour(weight) {
    const share = this.high > this.low ? (weight - this.low) / (this.high - this.low) : 0;
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
