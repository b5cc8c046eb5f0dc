// A page for the tests. It must be there before React is loaded, so this file is imported first.

import { Window } from 'happy-dom';

const window = new Window({ url: 'http://localhost/' });
const names = ['window', 'document', 'navigator', 'HTMLElement', 'Element', 'Node', 'MutationObserver', 'Event', 'CustomEvent', 'getComputedStyle'] as const;
for (const name of names) {
  const value = name === 'window' ? window : window[name];
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
// The page's own events are those of the window.
for (const name of ['addEventListener', 'removeEventListener', 'dispatchEvent'] as const) {
  Object.defineProperty(globalThis, name, { value: window[name].bind(window), configurable: true });
}

export { window };
