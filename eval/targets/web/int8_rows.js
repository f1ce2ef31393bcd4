// Loads a graph model whose matrices are int8 with one scale for each output; TensorFlow.js itself knows one scale for a whole tensor.
// In an app: import { loadGraphModel } from "./int8_rows.js"; const model = await loadGraphModel(tf, "model.json");

const BYTES = { float32: 4, int32: 4, bool: 1 };

/** In place of tf.loadGraphModel(address): widens int8 rows to float32, exactly; any other model is loaded as ever. */
export async function loadGraphModel(tf, address, fetchFile = fetchWhole) {
  const text = await (await fetchFile(address)).text();
  const model = JSON.parse(text);
  if (!specsOf(model).some(isRows)) {
    return tf.loadGraphModel(address, { fetchFunc: async (path, init) => (path === address ? new Response(text) : fetchFile(path, init)) });
  }
  const folder = address.slice(0, address.lastIndexOf("/") + 1);
  const paths = model.weightsManifest.flatMap((group) => group.paths);
  const shards = await Promise.all(paths.map(async (path) => (await fetchFile(folder + path)).arrayBuffer()));
  return tf.loadGraphModel({ load: async () => artifacts(model, shards) });
}

/** model.json and its shards (ArrayBuffers) as TensorFlow.js takes them from a page's own loader. */
export function artifacts(model, shards) {
  const { modelTopology, signature, format } = model;
  const specs = specsOf(model);
  const whole = join(shards);
  if (!specs.some(isRows)) return { modelTopology, signature, format, weightSpecs: specs, weightData: whole.buffer };
  const weightSpecs = specs.map(({ name, shape, dtype }) => ({ name, shape, dtype }));
  return { modelTopology, signature, format, weightSpecs, weightData: widen(specs, whole) };
}

function specsOf(model) {
  return model.weightsManifest.flatMap((group) => group.weights);
}

function isRows(spec) {
  return spec.quantization?.dtype === "int8_rows";
}

function join(shards) {
  const whole = new Uint8Array(shards.reduce((sum, shard) => sum + shard.byteLength, 0));
  let at = 0;
  for (const shard of shards) {
    whole.set(new Uint8Array(shard), at);
    at += shard.byteLength;
  }
  return whole;
}

/** The weights one after another, as TensorFlow.js takes them. */
function widen(specs, stored) {
  const wide = new Uint8Array(specs.reduce((sum, spec) => sum + count(spec) * BYTES[spec.dtype], 0));
  let from = 0;
  let to = 0;
  for (const spec of specs) {
    if (spec.quantization && !isRows(spec)) throw new Error(`${spec.name}: ${spec.quantization.dtype} beside int8 rows isn't known here`);
    const length = isRows(spec) ? count(spec) + 4 * spec.shape[spec.quantization.axis] : count(spec) * BYTES[spec.dtype];
    const bytes = stored.slice(from, from + length);
    if (bytes.length < length) throw new Error(`the weights end within ${spec.name}: a shard is cut short`);
    const whole = isRows(spec) ? rows(spec, bytes) : bytes;
    wide.set(whole, to);
    from += length;
    to += whole.length;
  }
  if (from !== stored.length) throw new Error(`${stored.length - from} bytes too many in the shards`);
  return wide.buffer;
}

/** int8 [rows, width], then the float32 scales along `axis`. The product is rounded once, to float32, as everywhere. */
function rows({ shape: [height, width], quantization: { axis } }, bytes) {
  const integers = new Int8Array(bytes.buffer, 0, height * width);
  const scales = new Float32Array(bytes.slice(height * width).buffer);
  const weights = new Float32Array(height * width);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) weights[at] = integers[at] * scales[axis === 0 ? row : column];
  }
  return new Uint8Array(weights.buffer);
}

function count(spec) {
  return spec.shape.reduce((product, size) => product * size, 1);
}

async function fetchWhole(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status} ${response.statusText}`);
  return response;
}
