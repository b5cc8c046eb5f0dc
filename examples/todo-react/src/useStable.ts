import { useLayoutEffect, useRef, useState } from 'react';

type Functions = { readonly [name: string]: (...args: never[]) => unknown };

/**
 * The same functions at every render, each of which does what its newest version does: a component that gets them need not
 * render because its parent did.
 */
export function useStable<F extends Functions>(functions: F): F {
  const newest = useRef(functions);
  useLayoutEffect(() => {
    newest.current = functions;
  });
  const [stable] = useState(() => {
    const entries = Object.keys(functions).map((name) => [name, (...args: never[]) => newest.current[name]?.(...args)]);
    return Object.fromEntries(entries) as F;
  });
  return stable;
}
