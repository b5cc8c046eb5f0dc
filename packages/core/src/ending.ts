import type { RawHandle } from './raw.js';

/**
 * What ends something the WebAssembly began: it is forgotten, closed and freed, once, however often and by whomever this is
 * called. A handle that was freed throws at whoever touches it again.
 *
 * `opened` hands what ends it to the owner, who calls it when the owner itself ends, and gives what makes the owner forget
 * it. `ended` is called first.
 */
export function ending(handle: RawHandle, opened: (end: () => void) => () => void, ended: () => void = () => undefined): () => void {
  let isOpen = true;
  const end = (): void => {
    if (!isOpen) return;
    isOpen = false;
    ended();
    forget();
    handle.close();
    handle.free();
  };
  const forget = opened(end);
  return end;
}
