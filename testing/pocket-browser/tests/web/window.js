import '/spy.js';
import init, * as pocket from '/module/pocket_web_tests.js';

// A panic ends no promise: it is told by the event that every uncaught error is told by.
const failed = new Promise((_, reject) => {
  addEventListener('error', (event) => reject(new Error(globalThis.pocketPanic ?? event.message)));
});
failed.catch(() => {});

globalThis.pocket = pocket;

globalThis.inWindow = (work) => Promise.race([work(), failed]);

// Calls an exported function in a worker of its own.
globalThis.inWorker = (name, ...given) =>
  new Promise((resolve, reject) => {
    const worker = new Worker('/worker.js', { type: 'module' });
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data }) => {
      worker.terminate();
      if ('failed' in data) reject(new Error(data.failed));
      else resolve(data.done);
    };
    worker.postMessage({ name, given });
  });

await init();
document.title = 'ready';
