// The model's own thread: what is typed never waits for an answer. The page asks with {id, question, given}, and gets
// {id, found} or {id, fault}; {progress} comes in between. A classic worker: LiteRT.js loads its wasm module by importScripts.
let model;

const QUESTIONS = {
  open: async (about) => {
    const { open } = await import(about.manifest.format.endsWith("_cascade") ? "./cascade.js" : "./model.js");
    model = await open(about, (progress) => self.postMessage({ progress }));
    return model.about;
  },
  answer: ({ texts }) => model.answer(texts),
  time: (given) => model.time(given),
  timeTokenizer: (given) => model.timeTokenizer(given),
};

self.onmessage = async ({ data: { id, question, given } }) => {
  try {
    self.postMessage({ id, found: await QUESTIONS[question](given) });
  } catch (error) {
    self.postMessage({ id, fault: error.message ?? String(error) });
  }
};
