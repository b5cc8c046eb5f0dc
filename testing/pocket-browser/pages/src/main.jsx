// Opens a database and shows every hook over it. The address says which server: `?server=ws://…&token=…`.
import { Database } from '@pocket/core';
import { PocketProvider } from '@pocket/react';
import { createIndexedDBStorage } from '@pocket/storage-indexeddb';
import { createSyncEngine } from '@pocket/sync';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from './app.jsx';

const given = new URLSearchParams(location.search);
const db = await Database.create({
  name: 'react',
  storage: createIndexedDBStorage(),
  collections: [{ name: 'notes', sync: true }],
});
const sync = createSyncEngine(db, { serverUrl: given.get('server'), authToken: given.get('token'), retryDelay: 20, maxRetryAttempts: 2 });
await sync.start();
const root = createRoot(document.getElementById('root'));
root.render(
  <StrictMode>
    <PocketProvider database={db} sync={sync}>
      <App />
    </PocketProvider>
  </StrictMode>,
);
// For the test.
Object.assign(globalThis, { db, sync, root, notes: db.collection('notes') });
document.title = 'ready';
