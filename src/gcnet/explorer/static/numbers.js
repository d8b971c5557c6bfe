// The table of distances: of this image, and of the newest audit of the run.

import * as server from "./server.js";

const ROWS = {
  input: "input, cosine",
  output: "output, cosine",
  attention: "attention, cosine",
  divergence: "attention, Jensen–Shannon",
};
const SOON = 300; // milliseconds: who leafs through blocks asks for the last only

const digits = (value) => (value === null || value === undefined ? "–" : value.toFixed(4));

const interval = (value) => (value ? `${digits(value.mean)} [${digits(value.low)}, ${digits(value.high)}]` : "–");

export function fillNumbers(pane) {
  const body = pane.find(".numbers tbody");
  const source = pane.find(".source");
  body.replaceChildren();
  source.textContent = "Measuring this image …";
  clearTimeout(pane.waiting);
  const { model, image, block, turn } = pane;
  const current = () => pane.turn === turn && pane.block === block;
  pane.waiting = setTimeout(async () => {
    try {
      const { image: measured, audit } = await server.numbers(model, image, block.path);
      if (!current()) return;
      body.replaceChildren(...Object.entries(ROWS).map(([name, title]) => line(title, digits(measured[name]), interval(audit?.[name]))));
      source.textContent = audit
        ? `0: all positions alike. Audit of ${audit.images} images: mean and interval.`
        : "0: all positions alike. No audit in this run; gcnet audit measures over a data set.";
    } catch (error) {
      if (current()) source.textContent = error.message;
    }
  }, SOON);
}

function line(title, ...cells) {
  const row = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = title;
  row.append(head);
  for (const text of cells) row.insertCell().textContent = text;
  return row;
}
