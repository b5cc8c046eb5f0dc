import '/spy.js';
import init, * as pocket from '/module/pocket_web_tests.js';

addEventListener('error', (event) => postMessage({ failed: globalThis.pocketPanic ?? event.message }));

addEventListener('message', async ({ data: { name, given } }) => {
  try {
    await init();
    postMessage({ done: await pocket[name](...given) });
  } catch (error) {
    postMessage({ failed: globalThis.pocketPanic ?? String(error) });
  }
});
