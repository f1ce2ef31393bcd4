// onnxruntime-web and LiteRT.js behind the questions that the benchmark asks: window.palmtop.<question>(argument).
let answerer;

const openers = {
  async ort({ files, threads }) {
    const ort = await import("/node_modules/onnxruntime-web/dist/ort.wasm.bundle.min.mjs");
    ort.env.wasm.numThreads = threads;
    ort.env.wasm.wasmPaths = "/node_modules/onnxruntime-web/dist/";
    return async () => {
      const session = await ort.InferenceSession.create(Object.values(files)[0].address, { executionProviders: ["wasm"] });
      const kinds = Object.fromEntries(session.inputMetadata.map(({ name, type }) => [name, type]));
      return async ({ inputs, length }) => {
        const feeds = {};
        for (const [name, values] of Object.entries(inputs)) {
          const data = kinds[name] === "int64" ? BigInt64Array.from(values, BigInt) : Int32Array.from(values);
          if (kinds[name]) feeds[name] = new ort.Tensor(kinds[name], data, [1, length]);
        }
        return Array.from(Object.values(await session.run(feeds))[0].data);
      };
    };
  },

  async litert({ files, threads }) {
    const litert = await import("/node_modules/@litertjs/core/dist/index.js");
    await litert.loadLiteRt("/node_modules/@litertjs/core/wasm/", { threads: threads > 1 });
    return async () => {
      const opened = {};
      return async ({ inputs, length }) => {
        const { address, signature } = files[length];
        opened[address] ??= await litert.loadAndCompile(address, { accelerator: "wasm", cpuOptions: { numThreads: threads } });
        const model = signature ? opened[address].signatures[signature] : opened[address];
        const feeds = {};
        for (const [name, values] of Object.entries(inputs)) feeds[name] = new litert.Tensor(Int32Array.from(values), [1, length]);
        const outputs = await model.run(feeds);
        const [output] = Object.values(outputs);
        const values = Array.from(output.toTypedArray());
        for (const tensor of [...Object.values(feeds), ...Object.values(outputs)]) tensor.delete();
        return values;
      };
    };
  },
};

/** Load the library, then the model. Answers the milliseconds from asking for the model to its first answer. */
async function open({ kind, files, threads, batch }) {
  const load = await openers[kind]({ files, threads });
  const begin = performance.now();
  answerer = await load();
  await answerer(batch);
  return performance.now() - begin;
}

async function predict({ batches }) {
  const rows = [];
  for (const batch of batches) rows.push(await answerer(batch));
  return rows;
}

async function time({ batch, runs }) {
  const milliseconds = [];
  for (let run = 0; run < runs; run++) {
    const begin = performance.now();
    await answerer(batch);
    milliseconds.push(performance.now() - begin);
  }
  return milliseconds;
}

window.palmtop = { open, predict, time };
