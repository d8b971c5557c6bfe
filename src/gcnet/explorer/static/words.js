// Sentences about blocks and weights.

const KINDS = {
  global_context: "GC",
  simplified_non_local: "SNL",
  non_local: "NL",
  attention: "attention",
};

export function number(value) {
  if (value === 0) return "0";
  if (Math.abs(value) < 0.001) return value.toExponential(0);
  return Math.abs(value) < 0.01 ? value.toFixed(3) : String(Number(value.toPrecision(3)));
}

// Paths without the folders that all of them begin with.
export function shortNames(names) {
  const parts = names.map((name) => name.split("/"));
  const differ = (at) => parts.some((each) => each.length <= at + 1 || each[at] !== parts[0][at]);
  let shared = 0;
  while (!differ(shared)) shared += 1;
  return parts.map((each) => each.slice(shared).join("/"));
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

export const percent = (share) => `${share < 0.0995 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;

export function describeBlock({ path, kind, hidden }) {
  return `${path || "the network"} (${KINDS[kind]}${hidden ? ` ${hidden}, not shown` : ""})`;
}

export function describeReading({ block, row, keys, queries, app, scale, asksPrefix }) {
  const weights = row.subarray(block.key_prefix);
  const of = (value) => number(value) + (block.softmax ? "\u00a0×" : "");
  const parts = [];
  if (asksPrefix) parts.push("query: the class token");
  else if (!block.pooled) {
    parts.push(`query: ${queries.name(queries.index(app.query))}${app.held ? ", held" : ""}`);
    parts.push(`its own place ${of(weights[keys.index(app.query)])}`);
  }
  parts.push(`highest ${of(scale.highest)} at ${keys.name(weights.indexOf(scale.highest))}`);
  parts.push(`lowest ${of(scale.lowest)}`);
  if (app.pointer && (app.held || block.pooled || asksPrefix)) {
    parts.push(`under the pointer ${of(weights[keys.index(app.pointer)])}`);
  }
  if (keys.frames > 1 && block.softmax) {
    const { frame } = keys.cell({ x: 0, y: 0, t: app.time });
    const size = keys.width * keys.height;
    parts.push(`${percent(sum(weights.subarray(frame * size, (frame + 1) * size)) / row.length)} of all weight in this frame`);
  }
  if (block.key_prefix) {
    const share = sum(row.subarray(0, block.key_prefix)) / row.length;
    parts.push(`${percent(share)} of all weight on ${block.key_prefix > 1 ? `${block.key_prefix} tokens outside the image` : "the class token"}`);
  }
  const text = parts.join(" · ");
  return text[0].toUpperCase() + text.slice(1);
}
