// One network, one block, one picture: asks for the row of the query and draws it.

import { drawLegend, mapCanvas, Scale } from "./colours.js";
import { Grid } from "./grid.js";
import { fillNumbers } from "./numbers.js";
import * as server from "./server.js";
import { describeBlock, describeReading, number, percent } from "./words.js";

export class Pane {
  constructor(app, model) {
    this.app = app;
    this.model = model;
    this.turn = 0; // of what is shown; answers to earlier turns are dropped
    this.root = document.getElementById("pane").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.root.querySelector(selector);
    this.models = this.find(".model select");
    this.blocks = this.find(".block select");
    this.heads = this.find(".head select");
    this.asked = this.find(".asked select");
    this.canvas = this.find("canvas.query");
    this.models.replaceChildren(...app.models.map(({ name }, index) => new Option(name, index, false, index === model)));
    this.find(".model").hidden = app.models.length < 2;
    this.models.addEventListener("change", () => this.changeModel(Number(this.models.value)));
    this.blocks.addEventListener("change", () => this.chooseBlock(this.blocks.value));
    this.asked.addEventListener("change", () => this.ask());
    this.heads.addEventListener("change", () => {
      this.ask();
      fillNumbers(this);
    });
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.find(".view"));
  }

  changeModel(model) {
    this.model = model;
    this.show(this.image);
  }

  async show(image) {
    const turn = ++this.turn;
    this.image = image;
    this.pass = this.row = undefined;
    this.root.setAttribute("aria-busy", "true");
    this.find(".busy").textContent = "Running the network …";
    this.root.removeAttribute("data-settled");
    this.root.classList.remove("failed");
    this.disable(true);
    try {
      const pass = await server.describe(this.model, image);
      const picture = await server.picture(this.model, image);
      if (turn !== this.turn) return;
      this.picture = picture;
      this.start(pass);
    } catch (error) {
      if (turn === this.turn) {
        this.root.classList.add("failed");
        this.app.fail(error);
      }
    }
    if (turn === this.turn) this.root.setAttribute("aria-busy", "false");
  }

  disable(disabled) {
    for (const select of [this.blocks, this.heads, this.asked]) select.disabled = disabled;
  }

  start(pass) {
    this.pass = pass;
    this.disable(false);
    const view = this.find(".view");
    view.style.aspectRatio = `${pass.width} / ${pass.height}`;
    view.style.maxWidth = `calc(72vh * ${pass.width / pass.height})`;
    this.canvas.setAttribute("aria-label", `Query on ${pass.name}: arrow keys move it`);
    this.find(".prediction").textContent = pass.prediction.length
      ? `Prediction: ${pass.prediction.map(({ name, probability }) => `${name} ${percent(probability)}`).join(", ")}`
      : "";
    const paths = pass.blocks.filter(({ hidden }) => !hidden).map(({ path }) => path);
    const wanted = [this.wish, this.block?.path, pass.block].find((path) => paths.includes(path));
    this.blocks.replaceChildren(...pass.blocks.map((block) => Object.assign(new Option(describeBlock(block), block.path), { disabled: Boolean(block.hidden) })));
    this.blocks.value = wanted;
    this.wish = undefined;
    this.app.setFrames(pass.frames);
    this.chooseBlock(wanted);
  }

  chooseBlock(path) {
    this.block = this.pass.blocks.find((block) => block.path === path);
    this.row = this.answered = undefined;
    this.queries = new Grid(this.block.size);
    this.keys = new Grid(this.block.key_size, this.block.reach);
    const kept = this.heads.value;
    this.heads.replaceChildren(new Option("mean of all", ""), ...Array.from({ length: this.block.heads }, (_, head) => new Option(head + 1, head)));
    this.heads.value = Number(kept) < this.block.heads ? kept : "";
    this.find(".head").hidden = this.block.heads < 2;
    this.find(".asked").hidden = !this.block.prefix;
    if (!this.block.prefix) this.asked.value = "position";
    const subsampled = this.keys.count < this.queries.count ? `, ${this.keys} keys` : "";
    this.find(".note").textContent = this.block.pooled
      ? `One map for all queries: this block pools once per image or clip, so moving the query changes nothing. ${this.keys} keys.`
      : `A map per query: ${this.queries} queries${subsampled}.`;
    this.ask();
    fillNumbers(this);
  }

  get asksPrefix() {
    return this.asked.value === "prefix";
  }

  choice() {
    const query = this.block.pooled || this.asksPrefix ? 0 : this.block.prefix + this.queries.index(this.app.query);
    const choice = { block: this.block.path, query };
    return this.heads.value === "" ? choice : { ...choice, head: this.heads.value };
  }

  get wanted() {
    return JSON.stringify([this.turn, this.choice()]);
  }

  // One question at a time: what the query was meanwhile is left out.
  async ask() {
    if (!this.pass) return;
    this.draw();
    const { turn, wanted } = this;
    if (this.asking || wanted === this.answered) return;
    this.asking = true;
    try {
      const block = this.block;
      const row = await server.row(this.model, this.image, this.choice());
      if (turn === this.turn && block === this.block) {
        [this.row, this.answered] = [row, wanted];
        this.paint();
      }
    } catch (error) {
      if (turn === this.turn) this.app.fail(error);
    }
    this.asking = false;
    if (this.pass && this.wanted !== wanted) this.ask();
  }

  // The map of the row, frame by frame.
  paint() {
    if (!this.row) return;
    const weights = this.row.subarray(this.block.key_prefix);
    this.scale = new Scale(weights, this.app.tables, this.app.scale);
    const { width, height, frames } = this.keys;
    this.map = mapCanvas(weights, width, height * frames, this.scale);
    const unit = this.block.softmax ? " × uniform" : "";
    const { low, middle, high } = this.scale;
    [low, middle, high].forEach((value, index) => {
      this.find(".ticks").children[index].textContent = number(value) + (index === 2 ? unit : "");
    });
    this.draw();
  }

  draw() {
    if (!this.pass) return;
    const view = this.find(".view");
    const [width, height] = [view.clientWidth, view.clientHeight].map((side) => Math.round(side * devicePixelRatio));
    const context = this.sized("canvas.map", width, height);
    const { frames, width: across, height: down } = this.pass;
    const frame = Math.min(frames - 1, Math.floor(this.app.time * frames));
    context.drawImage(this.picture, 0, frame * down, across, down, 0, 0, width, height);
    if (this.row && this.map && this.app.opacity) {
      this.fade(context, width, height);
      const of = this.keys.cell({ x: 0, y: 0, t: (frame + 0.5) / frames }).frame;
      context.globalAlpha = this.app.opacity;
      context.imageSmoothingEnabled = false;
      const { width: columns, height: rows } = this.keys;
      context.drawImage(this.map, 0, of * rows, columns, rows, 0, 0, width * this.keys.reach.x, height * this.keys.reach.y);
    }
    if (this.row) drawLegend(this.find(".legend canvas"), this.scale, this.app.opacity);
    this.mark(this.sized("canvas.query", width, height), width, height);
    this.root.toggleAttribute("data-settled", this.answered === this.wanted);
    if (this.answered === this.wanted) this.find(".reading").textContent = describeReading(this);
    this.find(".download").hidden = this.asksPrefix;
    this.root.querySelectorAll("[data-form]").forEach((link) => {
      link.href = server.figurePath(this.model, this.image, { ...this.choice(), form: link.dataset.form });
      link.download = `attention.${link.dataset.form}`;
    });
  }

  // Grey and light, so that colour is the map's alone.
  fade(context, width, height) {
    for (const [operation, colour] of [["saturation", "grey"], ["source-over", "rgb(255 255 255 / 33%)"]]) {
      context.globalCompositeOperation = operation;
      context.fillStyle = colour;
      context.fillRect(0, 0, width, height);
    }
  }

  sized(selector, width, height) {
    const canvas = this.find(selector);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    return context;
  }

  // A frame around the position that asks, black and white to be seen on anything.
  mark(context, width, height) {
    if (this.block.pooled || this.asksPrefix) return;
    const { column, row, frame } = this.queries.cell(this.app.query);
    const here = frame === this.queries.cell({ x: 0, y: 0, t: this.app.time }).frame;
    const [w, h] = [width / this.queries.width, height / this.queries.height];
    const grow = Math.max(0, 5 * devicePixelRatio - Math.min(w, h) / 2);
    const box = [column * w - grow, row * h - grow, w + 2 * grow, h + 2 * grow];
    context.setLineDash(here ? [] : [4 * devicePixelRatio, 4 * devicePixelRatio]);
    for (const [colour, thick] of [["black", 4], ["white", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick * devicePixelRatio;
      context.strokeRect(...box);
    }
  }

  listen() {
    const place = (event) => ({
      x: event.offsetX / this.canvas.clientWidth,
      y: event.offsetY / this.canvas.clientHeight,
      t: this.app.time,
    });
    this.canvas.addEventListener("pointermove", (event) => {
      this.app.point(place(event), event.pointerType !== "mouse" && event.buttons > 0);
    });
    this.canvas.addEventListener("pointerleave", () => this.app.point(undefined));
    this.canvas.addEventListener("pointerdown", (event) => {
      const same = this.app.held && this.queries && this.queries.index(place(event)) === this.queries.index(this.app.query);
      this.app.hold(!same, place(event));
    });
    this.canvas.addEventListener("focus", () => (this.app.speaker = this));
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const far = event.shiftKey ? 5 : 1;
    const step = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    if (event.key === "Escape") this.app.hold(false);
    if (!step || !this.queries || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.app.speaker = this;
    this.app.hold(true, this.queries.moved({ ...this.app.query, t: this.app.time }, ...step));
  }
}
