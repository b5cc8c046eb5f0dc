import { useCallback, useEffect, useMemo, useRef, useState } from 'react';

/** A mutation of a component, and how its last call went. */
export interface Mutation<A extends unknown[], R> {
  /** Calls the function; how it went comes in `data` and `error`. Always the same function. */
  readonly mutate: (...args: A) => void;
  /** As `mutate`, and answers what the function does, or rejects as it does. Always the same function. */
  readonly mutateAsync: (...args: A) => Promise<R>;
  /** Whether the last call is under way. */
  readonly isLoading: boolean;
  /** What the last call threw; null while it is under way, and when it went well. */
  readonly error: Error | null;
  /** What the last call that went well answered. */
  readonly data: R | undefined;
  /** Forgets `data` and `error`. Always the same function. */
  readonly reset: () => void;
}

interface State<R> {
  readonly isLoading: boolean;
  readonly error: Error | null;
  readonly data: R | undefined;
}

/**
 * Calls a function that changes something, and follows how that goes. Of calls that overlap the last one counts; each is
 * carried out.
 */
export function useMutation<A extends unknown[], R>(run: (...args: A) => R | PromiseLike<R>): Mutation<A, R> {
  const [state, setState] = useState<State<R>>({ isLoading: false, error: null, data: undefined });
  const newest = useRef(run);
  useEffect(() => {
    newest.current = run;
  });
  const calls = useRef(0);

  const mutateAsync = useCallback(async (...args: A): Promise<R> => {
    calls.current += 1;
    const mine = calls.current;
    const tell = (change: Partial<State<R>>): void => {
      if (mine === calls.current) setState((before) => ({ ...before, ...change }));
    };
    tell({ isLoading: true, error: null });
    try {
      const data = await newest.current(...args);
      tell({ isLoading: false, data });
      return data;
    } catch (error) {
      tell({ isLoading: false, error: error instanceof Error ? error : new Error(String(error)) });
      throw error;
    }
  }, []);
  const mutate = useCallback(
    (...args: A): void => {
      mutateAsync(...args).catch(() => undefined);
    },
    [mutateAsync],
  );
  const reset = useCallback(() => {
    calls.current += 1;
    setState({ isLoading: false, error: null, data: undefined });
  }, []);
  return useMemo(() => ({ ...state, mutate, mutateAsync, reset }), [state, mutate, mutateAsync, reset]);
}
