import './dom.js';

import { Database } from '@pocket/core';
import { PocketProvider } from '@pocket/react';
import { createMemoryStorage } from '@pocket/storage-memory';
import type { SyncEngine } from '@pocket/sync';
import { act, cleanup, render } from '@testing-library/react';
import type { ReactElement, ReactNode } from 'react';
import { StrictMode } from 'react';

export interface Item {
  _id: string;
  n: number;
}

/** A database with items of these numbers, named by them. */
export async function items(...numbers: number[]): Promise<Database> {
  const db = await Database.create({ name: 'react', storage: createMemoryStorage(), collections: [{ name: 'items' }] });
  await db.collection<Item>('items').insertMany(numbers.map((n) => ({ _id: `${n}`, n })));
  return db;
}

export interface App {
  /** What is shown. */
  text(): string;
  /** Waits until something is shown. */
  until(text: string | RegExp): Promise<void>;
  /** Shows something else in the same place. */
  show(children: ReactNode): Promise<void>;
  unmount(): void;
}

/** Shows components below a provider. */
export async function show(database: Database, children: ReactNode, options: { strict?: boolean; sync?: SyncEngine } = {}): Promise<App> {
  const around = (inner: ReactNode): ReactElement => {
    const provided = (
      <PocketProvider database={database} sync={options.sync}>
        {inner}
      </PocketProvider>
    );
    return options.strict === true ? <StrictMode>{provided}</StrictMode> : provided;
  };
  const view = await act(() => render(around(children)));
  const text = (): string => view.container.textContent ?? '';
  return {
    text,
    async until(expected) {
      const holds = (): boolean => (typeof expected === 'string' ? text() === expected : expected.test(text()));
      // Nothing but the deadline of the test ends it otherwise.
      while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
    },
    show: async (other) => act(() => view.rerender(around(other))),
    unmount: () => view.unmount(),
  };
}

/** Lets everything that is under way in the WebAssembly and in React come to its end. */
export async function settle(db: Database): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) {
    await db.stats();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

export async function end(...databases: Database[]): Promise<void> {
  cleanup();
  for (const db of databases) await db.close();
}
