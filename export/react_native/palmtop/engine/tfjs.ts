// A TensorFlow.js graph model in @tensorflow/tfjs-react-native: WebGL by expo-gl, or plain JavaScript.
import { type GraphModel, loadGraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import { bundleResourceIO } from '@tensorflow/tfjs-react-native';
import { Refused } from '../core/json';
import { type ModelJson, widened } from './int8_rows';
import type { Feeds, RuntimeSource } from './runtime';

export interface TfjsModel {
  /** The text of model.json. */
  readonly json: string;
  /** What Metro makes of require() of each shard, in order. */
  readonly shards: readonly number[];
}

/** Those of tfjs-react-native, the fastest first. */
export const BACKENDS = ['rn-webgl', 'cpu'] as const;
const NAME = '@tensorflow/tfjs-react-native 1.0.0';

export function tfjs(model: TfjsModel, backend: (typeof BACKENDS)[number]): RuntimeSource {
  const open = async () => {
    await tf.ready();
    if (!(await tf.setBackend(backend))) throw new Refused(`the backend ${backend} of TensorFlow.js doesn't start`);
    const graph = await loadGraphModel(stored(model));
    return { run: (feeds: Feeds, length: number) => answered(graph, feeds, length) };
  };
  return { name: `${NAME}, ${backend}`, length: null, open };
}

/** The files of the app, int8 rows as float32. */
function stored({ json, shards }: TfjsModel): tf.io.IOHandler {
  const model = JSON.parse(json) as ModelJson & tf.io.ModelJSON;
  return {
    load: async () => {
      const { weightData } = (await bundleResourceIO(model, [...shards]).load?.()) ?? {};
      const { weightSpecs, bytes } = widened(model, new Uint8Array(weightData as ArrayBuffer));
      const { modelTopology, signature, format } = model;
      return { modelTopology, signature, format, weightSpecs: weightSpecs as tf.io.WeightsManifestEntry[], weightData: bytes };
    },
  };
}

async function answered(graph: GraphModel, feeds: Feeds, length: number): Promise<Float32Array[]> {
  const names = graph.inputs.map(({ name }) => name.replace(/:0$/, '')) as (keyof Feeds)[];
  const tensors = Object.fromEntries(names.map((name) => [name, tf.tensor2d(feeds[name], [1, length], 'int32')]));
  const outputs = [graph.execute(tensors, graph.outputNodes)].flat();
  const values = (await Promise.all(outputs.map((output) => output.data()))) as Float32Array[];
  tf.dispose([...outputs, ...Object.values(tensors)]);
  return values;
}
