import { PocketProvider } from '@pocket/react';
import { useEffect, useState } from 'react';

import { Problem } from './components/Problem';
import { TodoApp } from './components/TodoApp';
import { openPocket } from './pocket';
import type { Keeping, Pocket } from './pocket';

type State = { readonly at: 'opening' } | { readonly at: 'open'; readonly pocket: Pocket } | { readonly at: 'failed'; readonly error: unknown };

/** Opens the database and shows the list, or why there is none. */
export function App() {
  const [asked, setAsked] = useState<{ keeping: Keeping; attempt: number }>({ keeping: 'stored', attempt: 0 });
  const [state, setState] = useState<State>({ at: 'opening' });

  useEffect(() => {
    let left = false;
    openPocket(asked.keeping).then(
      (pocket) => {
        if (!left) setState({ at: 'open', pocket });
      },
      (error: unknown) => {
        if (!left) setState({ at: 'failed', error });
      },
    );
    return () => {
      left = true;
    };
  }, [asked]);

  const open = (keeping: Keeping): void => {
    setState({ at: 'opening' });
    setAsked(({ attempt }) => ({ keeping, attempt: attempt + 1 }));
  };

  if (state.at === 'opening') {
    return (
      <p className="opening" role="status">
        Opening your list…
      </p>
    );
  }
  if (state.at === 'failed') {
    return <Problem error={state.error} onRetry={() => open('stored')} onUseWindow={() => open('window')} />;
  }
  return (
    <PocketProvider database={state.pocket.database} sync={state.pocket.sync}>
      <TodoApp keeping={state.pocket.keeping} />
    </PocketProvider>
  );
}
