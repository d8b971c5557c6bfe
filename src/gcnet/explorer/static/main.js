// The page: images, panes side by side, and the one query that all panes share.

import { Pane } from "./pane.js";
import * as server from "./server.js";

const byId = (id) => document.getElementById(id);
const QUIET = 500; // milliseconds after which the reading is spoken

class App {
  constructor({ models, images, colours, most_bytes: mostBytes }) {
    Object.assign(this, { models, images, mostBytes, tables: colours });
    this.query = { x: 0.5, y: 0.5, t: 0 };
    this.pointer = undefined;
    this.held = false;
    this.time = 0;
    this.opacity = Number(byId("opacity").value);
    this.scale = byId("scale").value;
    this.panes = [new Pane(this, 0)];
    this.speaker = this.panes[0];
    byId("about").textContent = models.map(({ name, trained }) => (trained ? name : `${name} (random weights)`)).join(" and ");
    byId("panes").append(this.panes[0].root);
    byId("drop").hidden = models[0].kind === "video";
    this.listen();
    this.list();
    if (models.length > 1) byId("compare").click();
    if (images.length) this.choose(images[0].id);
    else byId("panes").classList.add("empty");
  }

  // The query follows the mouse until it is held; a finger drags it.
  point(place, dragged = false) {
    this.pointer = place;
    if (place && (!this.held || dragged)) this.query = place;
    this.update();
  }

  hold(held, place) {
    this.held = held;
    if (place) this.query = place;
    this.update();
  }

  update() {
    for (const pane of this.panes) pane.ask();
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      byId("spoken").textContent = this.speaker.find(".reading").textContent;
    }, QUIET);
  }

  setFrames(frames) {
    byId("time").hidden = frames < 2;
    byId("frame").max = frames - 1;
    this.frames = frames;
    this.setFrame(Math.min(frames - 1, Number(byId("frame").value)));
  }

  setFrame(frame) {
    byId("frame").value = frame;
    byId("time").querySelector("output").textContent = `${frame + 1} of ${this.frames}`;
    this.time = (frame + 0.5) / this.frames;
    if (!this.held) this.query = { ...this.query, t: this.time };
  }

  choose(image) {
    this.image = image;
    this.fail(undefined);
    byId("panes").classList.remove("empty");
    for (const button of byId("thumbnails").querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.dataset.image === image));
    }
    for (const pane of this.panes) pane.show(image);
  }

  compare(wanted) {
    if (wanted) {
      const other = new Pane(this, this.models.length - 1);
      const blocks = this.panes[0].pass?.blocks.filter(({ hidden }) => !hidden).map(({ path }) => path) ?? [];
      other.wish = this.models.length > 1 ? this.panes[0].block?.path : blocks.at(blocks.indexOf(this.panes[0].block?.path) - 1);
      this.panes.push(other);
      byId("panes").append(other.root);
      if (this.image) other.show(this.image);
    } else {
      this.panes.pop().root.remove();
      this.speaker = this.panes[0];
    }
    byId("panes").classList.toggle("two", wanted);
  }

  list() {
    byId("thumbnails").replaceChildren(
      ...this.images.map(({ id, name }) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        const picture = new Image();
        Object.assign(picture, { src: server.thumbnailPath(id), alt: name, loading: "lazy" });
        Object.assign(button, { type: "button", title: name });
        button.dataset.image = id;
        button.setAttribute("aria-pressed", String(id === this.image));
        button.addEventListener("click", () => this.choose(id));
        button.append(picture);
        item.append(button);
        return item;
      }),
    );
  }

  async upload(file) {
    try {
      if (file.size > this.mostBytes) throw new Error(`${file.name} is larger than ${this.mostBytes / 2 ** 20} MiB.`);
      const { id } = await server.upload(file);
      this.images = (await server.start()).images;
      this.list();
      this.choose(id);
    } catch (error) {
      this.fail(error);
    }
  }

  fail(error) {
    byId("alert").hidden = !error;
    byId("alert").querySelector("p").textContent = error?.message ?? "";
  }

  listen() {
    byId("alert").querySelector("button").addEventListener("click", () => this.fail(undefined));
    byId("compare").addEventListener("change", (event) => this.compare(event.target.checked));
    byId("opacity").addEventListener("input", (event) => {
      this.opacity = Number(event.target.value);
      for (const pane of this.panes) pane.draw();
    });
    byId("scale").addEventListener("change", (event) => {
      this.scale = event.target.value;
      for (const pane of this.panes) pane.paint();
    });
    byId("frame").addEventListener("input", (event) => {
      this.setFrame(Number(event.target.value));
      this.update();
    });
    byId("file").addEventListener("change", (event) => {
      if (event.target.files.length) this.upload(event.target.files[0]);
      event.target.value = "";
    });
    const over = (event, inside) => {
      event.preventDefault();
      byId("drop").classList.toggle("over", inside);
    };
    addEventListener("dragover", (event) => over(event, true));
    addEventListener("dragleave", (event) => over(event, false));
    addEventListener("drop", (event) => {
      over(event, false);
      if (event.dataTransfer.files.length) this.upload(event.dataTransfer.files[0]);
    });
  }
}

server.start().then(
  (content) => new App(content),
  (error) => {
    byId("alert").hidden = false;
    byId("alert").querySelector("p").textContent = error.message;
  },
);
