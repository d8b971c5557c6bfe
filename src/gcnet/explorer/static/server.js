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
const lookPath = (model, image, what = "") => `api/looks/${model}/${image}${what}`;

export const start = () => json("api/start");

export const upload = (file) =>
  json(`api/images?${new URLSearchParams({ name: file.name })}`, { method: "POST", body: file });

export const thumbnailPath = (image) => `api/images/${image}/thumbnail`;

export const describe = (model, image) => json(lookPath(model, image));

export const numbers = (model, image, block) =>
  json(lookPath(model, image, `/numbers?${new URLSearchParams({ block })}`));

export async function picture(model, image) {
  const response = await answer(lookPath(model, image, "/picture"));
  return createImageBitmap(await response.blob());
}

export async function row(model, image, choice) {
  const response = await answer(lookPath(model, image, `/row?${new URLSearchParams(choice)}`));
  return new Float32Array(await response.arrayBuffer());
}

export const figurePath = (model, image, choice) =>
  lookPath(model, image, `/figure?${new URLSearchParams(choice)}`);
