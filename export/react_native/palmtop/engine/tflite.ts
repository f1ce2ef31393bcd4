// A .tflite in react-native-fast-tflite: LiteRT on the processor. It runs the file's one graph, at the size that stands in it.
import { loadTensorflowModel } from 'react-native-fast-tflite';
import type { InputName } from '../core/folder';
import { Refused } from '../core/json';
import type { RuntimeSource } from './runtime';

export interface TfliteGraph {
  /** What Metro makes of require('./model.tflite'). */
  readonly asset: number;
  /** The model's inputs in the order of the graph's. */
  readonly inputs: readonly InputName[];
  /** The places of the wanted outputs among the graph's. */
  readonly outputs: readonly number[];
  /** Tokens that it runs. */
  readonly length: number;
}

const NAME = 'react-native-fast-tflite 3.0.1';

export function tflite({ asset, inputs, outputs, length }: TfliteGraph): RuntimeSource {
  const open = async () => {
    const model = await loadTensorflowModel(asset, []);
    const sizes = model.inputs.map(({ dataType, shape }) => `${dataType} ${shape.join('x')}`);
    const wanted = inputs.map(() => `int32 1x${length}`);
    if (String(sizes) !== String(wanted)) throw new Refused(`model.tflite takes ${sizes.join(', ')}, where ${wanted.join(', ')} is wanted`);
    return {
      run: async (feeds: Readonly<Record<InputName, Int32Array>>) => {
        const answered = await model.run(inputs.map((name) => feeds[name].slice().buffer as ArrayBuffer));
        return outputs.map((place) => new Float32Array(answered[place]));
      },
    };
  };
  return { name: NAME, length, open };
}
