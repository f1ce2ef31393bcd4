// Stubs: of each package's types only what export/react_native uses, as the versions in its README declare it, in short.

declare module '@react-native-async-storage/async-storage' {
  const storage: { getItem(key: string): Promise<string | null>; setItem(key: string, value: string): Promise<void> };
  export default storage;
}

declare module 'react-native-fast-tflite' {
  interface Tensor {
    name: string;
    dataType: string;
    shape: number[];
  }
  export interface TfliteModel {
    readonly inputs: Tensor[];
    readonly outputs: Tensor[];
    run(input: ArrayBuffer[]): Promise<ArrayBuffer[]>;
  }
  export function loadTensorflowModel(source: number | { url: string }, delegates: ('metal' | 'core-ml' | 'nnapi' | 'android-gpu')[]): Promise<TfliteModel>;
}

declare module '@tensorflow/tfjs-core' {
  export interface Tensor {
    data(): Promise<Float32Array | Int32Array | Uint8Array>;
  }
  export function ready(): Promise<void>;
  export function setBackend(name: string): Promise<boolean>;
  export function tensor2d(values: Int32Array, shape: [number, number], dtype: 'int32'): Tensor;
  export function dispose(tensors: Tensor[]): void;
  export namespace io {
    interface WeightsManifestEntry {
      name: string;
      shape: number[];
      dtype: 'float32' | 'int32' | 'bool' | 'string' | 'complex64';
    }
    interface ModelArtifacts {
      modelTopology?: object | ArrayBuffer;
      signature?: object;
      format?: string;
      weightSpecs?: WeightsManifestEntry[];
      weightData?: ArrayBuffer | ArrayBuffer[];
    }
    interface ModelJSON {
      modelTopology: object;
      signature?: object;
      format?: string;
      weightsManifest: { paths: string[]; weights: WeightsManifestEntry[] }[];
    }
    interface IOHandler {
      load?(): Promise<ModelArtifacts>;
    }
  }
}

declare module '@tensorflow/tfjs-converter' {
  import type { io, Tensor } from '@tensorflow/tfjs-core';
  export interface GraphModel {
    readonly inputs: { name: string }[];
    readonly outputNodes: string[];
    execute(inputs: Record<string, Tensor>, outputs?: string | string[]): Tensor | Tensor[];
  }
  export function loadGraphModel(source: io.IOHandler): Promise<GraphModel>;
}

declare module '@tensorflow/tfjs-react-native' {
  import type { io } from '@tensorflow/tfjs-core';
  export function bundleResourceIO(model: io.ModelJSON, weights: number | number[]): io.IOHandler;
}
