// Sentences about blocks and weights.

const KINDS = {
  global_context: "GC",
  simplified_non_local: "SNL",
  non_local: "NL",
  attention: "attention",
};
const PAIRWISE = { gaussian: "Gaussian", embedded_gaussian: "embedded Gaussian", dot_product: "dot product", concatenation: "concatenation" };

export const number = (value) => (Math.abs(value) < 0.0005 ? "0.000" : String(Number(value.toPrecision(3))));

export const percent = (share) => `${share < 0.0995 ? (100 * share).toFixed(1) : Math.round(100 * share)} %`;

export function describeBlock({ path, kind, pairwise }) {
  const form = kind === "non_local" ? `, ${PAIRWISE[pairwise]}` : "";
  return `${path || "the network"} (${KINDS[kind]}${form})`;
}

export function describeReading({ block, row, keys, queries, app, scale, asksPrefix }) {
  const weights = row.subarray(row.length - keys.count);
  const of = (value) => (block.softmax ? `${number(value)} × uniform` : number(value));
  const what = block.softmax ? "weight" : "affinity";
  const parts = [];
  if (!block.pooled && !asksPrefix) {
    const own = weights[keys.index(app.query)];
    parts.push(`Query at ${queries.name(queries.index(app.query))}${app.held ? " (held)" : ""}: ${what} of its own place ${of(own)}`);
  }
  parts.push(`highest ${of(scale.highest)} at ${keys.name(weights.indexOf(scale.highest))}`);
  parts.push(`lowest ${number(scale.lowest)}`);
  if (app.pointer && (app.held || block.pooled || asksPrefix)) {
    parts.push(`under the pointer ${of(weights[keys.index(app.pointer)])}`);
  }
  if (block.prefix) {
    const share = row.subarray(0, block.prefix).reduce((sum, value) => sum + value, 0) / row.length;
    parts.push(`${percent(share)} of all weight on ${block.prefix > 1 ? `the ${block.prefix} class and register tokens` : "the class token"}`);
  }
  const text = parts.join("; ");
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}
