// The same few calls over each database. Each `open` makes one that is empty.
import { Database } from '@pocket/core';
import { createIndexedDBStorage } from '@pocket/storage-indexeddb';
import Dexie, { liveQuery } from 'dexie';
import { createRxDatabase } from 'rxdb/plugins/core';
import { getRxStorageDexie } from 'rxdb/plugins/storage-dexie';

const pocket = (durability) => async (name) => {
  const db = await Database.create({
    name,
    storage: createIndexedDBStorage({ durability, persist: false }),
    collections: [{ name: 'notes', indexes: [{ fields: ['n'] }] }],
  });
  const notes = db.collection('notes');
  return {
    id: '_id',
    insertMany: (all) => notes.insertMany(all),
    insert: (note) => notes.insert(note),
    all: () => notes.getAll(),
    get: (id) => notes.get(id),
    live(least, told) {
      const live = notes.find().where('n').gte(least).sort('n', 'asc').live();
      live.subscribe((state) => told(state.data.length));
      return () => live.close();
    },
    close: () => db.close(),
  };
};

const dexie = (chromeTransactionDurability) => async (name) => {
  const db = new Dexie(name, { chromeTransactionDurability });
  db.version(1).stores({ notes: '_id, n' });
  await db.open();
  return {
    id: '_id',
    insertMany: (all) => db.notes.bulkPut(all),
    insert: (note) => db.notes.add(note),
    all: () => db.notes.toArray(),
    get: (id) => db.notes.get(id),
    live(least, told) {
      const subscription = liveQuery(() => db.notes.where('n').aboveOrEqual(least).sortBy('n')).subscribe((found) => told(found.length));
      return () => subscription.unsubscribe();
    },
    close: async () => db.close(),
  };
};

const rxdb = async (name) => {
  const db = await createRxDatabase({ name: name.replaceAll(' ', '-'), storage: getRxStorageDexie(), multiInstance: false });
  const { notes } = await db.addCollections({
    notes: {
      schema: {
        version: 0,
        primaryKey: '_id',
        type: 'object',
        properties: {
          _id: { type: 'string', maxLength: 100 },
          n: { type: 'number', minimum: 0, maximum: 1_000_000, multipleOf: 1 },
          title: { type: 'string' },
          done: { type: 'boolean' },
          tags: { type: 'array', items: { type: 'string' } },
        },
        required: ['_id', 'n'],
        indexes: ['n'],
      },
    },
  });
  return {
    id: '_id',
    async insertMany(all) {
      const { error } = await notes.bulkInsert(all);
      if (error.length > 0) throw new Error('RxDB did not take all');
    },
    insert: (note) => notes.insert(note),
    all: () => notes.find().exec(),
    get: (id) => notes.findOne(id).exec(),
    live(least, told) {
      const found = notes.find({ selector: { n: { $gte: least } }, sort: [{ n: 'asc' }] });
      const subscription = found.$.subscribe((all) => told(all.length));
      return () => subscription.unsubscribe();
    },
    close: () => db.close(),
  };
};

/** By the names that the table has. `strict`: the browser tells the disk to keep each commit. */
export const contestants = {
  'Pocket, strict': pocket('strict'),
  'Pocket, relaxed': pocket('relaxed'),
  'Dexie, strict': dexie('strict'),
  'Dexie, relaxed': dexie('relaxed'),
  'RxDB on Dexie': rxdb,
};
