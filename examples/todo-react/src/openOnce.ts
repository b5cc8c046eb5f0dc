// Opens one thing at a time, however often it is asked for.

/** What closes what was opened. */
export interface Closable {
  close(): Promise<void>;
}

/**
 * Makes a function that opens by `key`: the same promise for as long as the key is the same. After a failure, the next call
 * tries again. Another key opens anew at once, and what was opened before is closed as soon as it is open; whoever still uses
 * it then does so in vain. What goes wrong while it closes goes to `report`.
 */
export function openOnce<K, V extends Closable>(open: (key: K) => Promise<V>, report: (error: unknown) => void): (key: K) => Promise<V> {
  let current: { readonly key: K; readonly opened: Promise<V> } | undefined;
  return (key) => {
    if (current !== undefined && current.key === key) return current.opened;
    // A failure to open was told to whoever asked; then there is nothing to close.
    void current?.opened.then((before) => before.close().catch(report), () => undefined);
    const mine = { key, opened: open(key) };
    current = mine;
    mine.opened.catch(() => {
      // A newer one is not forgotten for the failure of an older one.
      if (current === mine) current = undefined;
    });
    return mine.opened;
  };
}
