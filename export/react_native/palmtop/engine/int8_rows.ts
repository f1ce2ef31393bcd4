// Weights that are int8 with one scale for each output, as float32: TensorFlow.js itself knows one scale for a whole tensor.
import { Refused } from '../core/json';

export interface WeightSpec {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly quantization?: { readonly dtype: string; readonly axis?: number };
}

export interface ModelJson {
  readonly weightsManifest: readonly { readonly weights: readonly WeightSpec[] }[];
}

export interface Weights {
  readonly weightSpecs: readonly WeightSpec[];
  readonly bytes: ArrayBuffer;
}

const BYTES: Readonly<Record<string, number>> = { float32: 4, int32: 4, bool: 1 };
const ROWS = 'int8_rows';

/** A model's weights, of which TensorFlow.js takes every one; a model without int8 rows stays as it is. */
export function widened({ weightsManifest }: ModelJson, stored: Uint8Array): Weights {
  const specs: WeightSpec[] = [];
  for (const { weights } of weightsManifest) specs.push(...weights);
  if (!specs.some(isRows)) return { weightSpecs: specs, bytes: stored.slice().buffer };
  const wide = new Uint8Array(specs.reduce((sum, spec) => sum + count(spec) * bytesOf(spec), 0));
  let [from, to] = [0, 0];
  for (const spec of specs) {
    if (spec.quantization && !isRows(spec)) throw new Refused(`${spec.name}: ${spec.quantization.dtype} beside int8 rows isn't known here`);
    const length = isRows(spec) ? count(spec) + 4 * scalesOf(spec) : count(spec) * bytesOf(spec);
    const part = stored.slice(from, from + length);
    if (part.length < length) throw new Refused(`the weights end within ${spec.name}: a shard is cut short`);
    const whole = isRows(spec) ? rows(spec, part) : part;
    wide.set(whole, to);
    from += length;
    to += whole.length;
  }
  if (from !== stored.length) throw new Refused(`${stored.length - from} bytes too many in the shards`);
  return { weightSpecs: specs.map(({ name, shape, dtype }) => ({ name, shape, dtype })), bytes: wide.buffer };
}

/** int8 [rows, width], then the float32 scales along `axis`. The product is rounded once, to float32, as everywhere. */
function rows(spec: WeightSpec, bytes: Uint8Array): Uint8Array {
  const [height, width] = spec.shape;
  const integers = new Int8Array(bytes.buffer, 0, height * width);
  const scales = new Float32Array(bytes.slice(height * width).buffer);
  const weights = new Float32Array(height * width);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at++) weights[at] = integers[at] * scales[spec.quantization?.axis === 0 ? row : column];
  }
  return new Uint8Array(weights.buffer);
}

function scalesOf({ shape, quantization }: WeightSpec): number {
  return shape[quantization?.axis ?? 0];
}

function isRows({ quantization }: WeightSpec): boolean {
  return quantization?.dtype === ROWS;
}

function bytesOf({ name, dtype }: WeightSpec): number {
  if (BYTES[dtype] === undefined) throw new Refused(`${name}: weights of the type ${dtype} aren't known here`);
  return BYTES[dtype];
}

function count({ shape }: WeightSpec): number {
  return shape.reduce((product, size) => product * size, 1);
}
