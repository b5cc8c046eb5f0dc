import { useCallback, useEffect, useState } from 'react';

import { viewOf } from './todos';
import type { Show } from './todos';

/** The view that the address names, and a way to another one: links and the back button work. */
export function useView(): [Show, (path: string) => void] {
  const [path, setPath] = useState(window.location.pathname);
  useEffect(() => {
    const read = (): void => setPath(window.location.pathname);
    window.addEventListener('popstate', read);
    return () => window.removeEventListener('popstate', read);
  }, []);
  const go = useCallback((next: string) => {
    window.history.pushState(null, '', next);
    setPath(next);
  }, []);
  return [viewOf(path), go];
}
