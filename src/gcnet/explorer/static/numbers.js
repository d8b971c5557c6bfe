// The table of distances: of this image, and of the newest audit of the run.

import * as server from "./server.js";

const ROWS = {
  input: "input, cosine",
  output: "output, cosine",
  attention: "attention, cosine",
  divergence: "attention, Jensen–Shannon",
};
const SOON = 300; // milliseconds: who leafs through blocks asks for the last only

function digits(value) {
  if (value !== 0 && value < 0.0001) return value.toExponential(0);
  return value.toFixed(value < 0.1 ? 4 : 3);
}

const SHARED = new Set(["output", "attention", "divergence"]); // the same for all positions of a pooled block

function cell(numbers, name) {
  if (!numbers) return "–";
  if (numbers.shared && SHARED.has(name)) return "0, one map";
  const value = numbers[name];
  if (!value) return "–";
  const interval = value.low === null ? "" : ` [${digits(value.low)}, ${digits(value.high)}]`;
  return digits(value.mean) + interval;
}

export function fillNumbers(pane) {
  const body = pane.find(".numbers tbody");
  const source = pane.find(".source");
  const fill = (text) => body.replaceChildren(...Object.entries(ROWS).map(([name, title]) => line(title, ...text(name))));
  fill(() => ["…", "…"]);
  source.textContent = "Measuring this image …";
  clearTimeout(pane.waiting);
  const { model, image, block, turn } = pane;
  const head = pane.heads.value;
  const current = () => pane.turn === turn && pane.block === block && pane.heads.value === head;
  pane.waiting = setTimeout(async () => {
    try {
      const { image: measured, audit } = await server.numbers(model, image, pane.choice());
      if (!current()) return;
      fill((name) => [cell(measured, name), cell(audit, name)]);
      source.textContent = [
        "0: all positions alike.",
        measured ? "" : "This map is too large to be measured here.",
        audit
          ? `Audit: mean of ${audit.images} images and its 95\u00a0% interval.`
          : "gcnet audit RUN measures over a data set; its newest report shows here.",
      ].join(" ");
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
