// What the page asks the server for. Every answer that is an error carries a sentence for the reader.

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is gcnet explore still running?");
  }
  if (response.ok) return response;
  const content = await response.json().catch(() => ({}));
  throw new Error(content.error ?? `The server answered ${response.status}.`);
}

const json = async (path, options) => (await answer(path, options)).json();
const passPath = (model, image, what = "") => `api/passes/${model}/${image}${what}`;

export const start = () => json("api/start");

export const upload = (file) =>
  json(`api/images?${new URLSearchParams({ name: file.name })}`, { method: "POST", body: file });

export const thumbnailPath = (image) => `api/images/${image}/thumbnail`;

export const describe = (model, image) => json(passPath(model, image));

export const numbers = (model, image, { query, ...choice }) =>
  json(passPath(model, image, `/numbers?${new URLSearchParams(choice)}`));

export async function picture(model, image) {
  const response = await answer(passPath(model, image, "/picture"));
  return createImageBitmap(await response.blob());
}

export async function row(model, image, choice) {
  const response = await answer(passPath(model, image, `/row?${new URLSearchParams(choice)}`));
  return new Float32Array(await response.arrayBuffer());
}

export const figurePath = (model, image, choice) =>
  passPath(model, image, `/figure?${new URLSearchParams(choice)}`);
