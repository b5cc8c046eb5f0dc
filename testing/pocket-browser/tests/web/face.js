// The face of the product's module, case by case. A case that fails throws.
import init, * as pocket from '/product/pocket_web.js';
import { decode, encode } from '/msgpack.js';

function equal(found, expected, what) {
  const text = (value) => JSON.stringify(value, (_, one) => (typeof one === 'bigint' ? `${one}n` : one instanceof Uint8Array ? [...one] : one));
  if (text(found) !== text(expected)) throw new Error(`${what}: ${text(found)} instead of ${text(expected)}`);
}

// The code of what a call throws, or of what its promise is rejected with.
async function code(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof Error) || !error.message) throw new Error(`thrown was ${error}`);
    return error.code;
  }
  return 'nothing';
}

const turns = () => new Promise((resolve) => setTimeout(resolve));

async function until(holds, what) {
  for (let tries = 0; !(await holds()); tries += 1) {
    if (tries > 10_000) throw new Error(`never: ${what}`);
    await turns();
  }
}

async function open(storage = pocket.RawStorage.memory(), more = {}, migrations = undefined) {
  const options = { name: 'cases', collections: [{ name: 'notes', sync: true }, { name: 'local' }], ...more };
  const database = await pocket.RawDatabase.open(JSON.stringify(options), storage, migrations);
  return { database, notes: database.collection('notes') };
}

const query = (spec = {}) => encode(spec);
const body = (row) => row && decode(row)[3];
const ids = (rows) => decode(rows).map(([id]) => id);

// What a live query told, applied.
function follow(notes, spec) {
  const list = [];
  const followed = { list, steps: 0, errors: [] };
  followed.handle = notes.live(query(spec), 0, (step) => {
    followed.steps += 1;
    for (const [kind, at, to, row] of decode(step).changes) {
      if (kind === 'r') list.splice(at, 1);
      else if (kind === 'u') list[at] = row;
      else if (kind === 'i') list.splice(at, 0, row);
      else if (kind === 'm') { list.splice(at, 1); list.splice(to, 0, row); }
      else throw new Error(`an edit ${kind}`);
    }
  }, (error) => followed.errors.push(error));
  return followed;
}

const cases = {
  async values_come_back_as_they_went_in() {
    const { notes } = await open();
    const given = {
      none: null, yes: true, small: 7, negative: -70_000, large: 2n ** 63n, least: -(2n ** 63n), half: 0.5, text: 'Grüße 🍏',
      bytes: new Uint8Array([0, 255, 7]), day: new Date('1969-12-31T23:59:59.250Z'), list: [1, [2], { three: 3 }], inner: { $not: undefined, deep: { er: '' } },
    };
    delete given.inner.$not;
    const row = decode(await notes.insert(encode({ ...given, _id: 'one' })));
    equal(row.length, 4, 'a row');
    equal(row[0], 'one', 'its id');
    if (!/^[0-9a-f-]{20,}/.test(row[1]) || Math.abs(Date.now() - row[2]) > 60_000) throw new Error(`revision and time: ${row}`);
    for (const found of [row[3], body(await notes.get('one'))]) {
      equal(found, given, 'the body');
      if (!(found.day instanceof Date) || !(found.bytes instanceof Uint8Array)) throw new Error('types');
    }
    const [made] = decode(await notes.insert(encode({ n: 1 })));
    if (made.length !== 36) throw new Error(`an id was made: ${made}`);
    equal(decode(await notes.update(made, encode({ n: 2, m: 3 })))[3], { n: 2, m: 3 }, 'an update');
    equal(ids(await notes.insertMany(encode([{ _id: 'b' }, { _id: 'a' }]))), ['b', 'a'], 'many');
    equal(decode(await notes.getMany(['a', 'missing', 'b'])).map((row) => row && row[0]), ['a', null, 'b'], 'with holes');
    await notes.deleteMany(['a', 'b']);
    equal(await notes.get('a'), undefined, 'a deleted one');
    const early = query({ filter: { day: { $lt: new Date(0) } } });
    equal(ids(await notes.find(early)), ['one'], 'a filter with a date');
    equal(await notes.count(query({ filter: { large: { $gt: 2n ** 62n } } })), 1, 'a filter with a large number');
    const page = decode(await notes.page(query({ sort: [['n', 'desc']], limit: 1 })));
    equal(page.rows.map(([id]) => id), [made], 'a page');
    equal(ids(await notes.find(query({ sort: [{ field: 'n', order: 'desc' }], after: page.end }))), ['one'], 'the page behind it');
    equal(JSON.parse(await notes.explain(query(), true)).collection, 'notes', 'a plan');
  },

  async errors_are_errors_with_codes() {
    const { database, notes } = await open();
    await notes.insert(encode({ _id: 'one' }));
    const nobody = () => {};
    const expected = {
      'document-exists': () => notes.insert(encode({ _id: 'one' })),
      'document-not-found': () => notes.update('two', encode({})),
      'bad-id': () => notes.get(''),
      'collection-not-found': () => database.collection('nothing'),
      'bad-collection-name': () => database.createCollection('{"name":"a b"}'),
      'validation': () => notes.insert(new Uint8Array([0xc1])),
      'bad-query': () => notes.find(query({ filtre: {} })),
      'index-not-found': () => notes.dropIndex('none'),
      'journal-entry-not-found': () => database.journalGet(99),
      'config': () => pocket.RawDatabase.open('{', pocket.RawStorage.memory()),
    };
    for (const [name, call] of Object.entries(expected)) equal(await code(call), name, name);
    equal(await code(() => notes.changes('no function')), 'validation', 'a listener that is none');
    equal(await code(() => notes.getMany([1])), 'validation', 'ids that are none');
    equal(await code(() => notes.live(query(), -1, nobody, nobody)), 'validation', 'a negative pause');
    equal(await code(() => database.journalGet(1.5)), 'validation', 'half a number');
    equal(await code(() => new pocket.RawSync(database, '{"server_url":"ws://127.0.0.1:9","batch_size":0}', {})), 'config', 'an option that cannot be');
    const transaction = database.transaction();
    const read = await transaction.get('notes', 'one');
    equal(decode(read)[0], 'one', 'a read in a transaction');
    transaction.upsert('notes', encode({ _id: 'two' }));
    await notes.update('one', encode({ moved: true }));
    equal(await code(() => transaction.commit()), 'transaction-conflict', 'what it read has moved');
    equal(await code(() => transaction.commit()), 'closed', 'a transaction that was used up');
    equal(await notes.get('two'), undefined, 'nothing of it');
    await database.close();
    equal(await code(() => notes.get('one')), 'closed', 'after the end');
  },

  async live_queries_tell_every_step_and_a_listener_that_throws_hears_on() {
    const { database, notes } = await open();
    const reported = [];
    globalThis.reportError = (error) => reported.push(error.message);
    let heard = 0;
    const angry = notes.changes(() => { heard += 1; throw new Error('angry'); });
    const followed = follow(notes, { filter: { n: { $gte: 2 } }, sort: ['n'] });
    const counts = [];
    const count = notes.liveCount(query({ filter: { n: { $gte: 2 } } }), 0, (value) => counts.push(value), (error) => { throw error; });
    const observed = [];
    const observer = notes.observeById('c', (row) => observed.push(row ? body(row).n : null), (error) => { throw error; });
    for (const [id, n] of [['a', 1], ['b', 2], ['c', 3], ['d', 0]]) await notes.insert(encode({ _id: id, n }));
    await notes.update('d', encode({ n: 9 }));
    await notes.update('b', encode({ n: 4 }));
    await notes.delete('c');
    const wanted = JSON.stringify(['b', 'd']);
    await until(() => JSON.stringify(followed.list.map(([id]) => id)) === wanted, 'the result');
    equal(followed.list.map((row) => row[3].n), [4, 9], 'its documents');
    await until(() => counts.at(-1) === 2 && observed.at(-1) === null && heard === 7, 'all hear');
    if (!observed.includes(3)) throw new Error(`observed: ${observed}`);
    equal(reported.length, 7, 'all that was thrown is reported');
    const before = followed.steps;
    followed.handle.refresh();
    await notes.insert(encode({ _id: 'e', n: 5 }));
    await until(() => followed.steps > before && followed.list.length === 3, 'it goes on after a refresh');
    equal(followed.errors, [], 'errors');
    const slow = [];
    const paused = notes.live(query(), 20, (step) => slow.push(decode(step).changes.length), (error) => { throw error; });
    await until(() => slow.length === 1, 'the first step comes');
    for (let n = 0; n < 5; n += 1) await notes.insert(encode({ n: -n }));
    await until(() => slow.reduce((sum, one) => sum + one, 0) >= slow[0] + 5, 'what came in quick succession');
    for (const handle of [angry, followed.handle, count, observer, paused]) handle.close();
    await until(async () => JSON.parse(await database.stats()).liveQueries === 0, 'nobody is left');
  },

  async listeners_that_come_and_go_leave_nothing_behind() {
    const { database, notes } = await open();
    const live = async () => JSON.parse(await database.stats()).liveQueries;
    const nobody = () => {};
    for (let round = 0; round < 20; round += 1) {
      const handles = [];
      for (let one = 0; one < 10; one += 1) {
        handles.push(notes.live(query({ filter: { n: one } }), 0, nobody, nobody), notes.liveCount(query(), 0, nobody, nobody));
        handles.push(notes.observeById(`${one}`, nobody, nobody), notes.changes(nobody), database.changes(nobody));
      }
      equal(await live(), 30, 'those that are there');
      // Both ways to end it, and both at once.
      handles.forEach((handle, at) => { if (at % 3 !== 0) handle.close(); if (at % 3 !== 1) handle.free(); });
      await until(async () => (await live()) === 0, 'all are gone');
    }
    const heard = [];
    const once = notes.changes((change) => { heard.push(decode(change).documentId); once.close(); });
    await notes.insertMany(encode([{ _id: 'a' }, { _id: 'b' }, { _id: 'c' }]));
    await turns();
    equal(heard, ['a'], 'one that closes itself');
  },

  async no_bytes_from_outside_break_the_module() {
    const { database, notes } = await open();
    let seed = 7;
    const random = (below) => { seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0; return (seed >>> 8) % below; };
    const good = encode({ _id: 'x', list: [1, 'two', null], filter: { n: { $in: [1, 2] } }, sort: ['n'], limit: 3 });
    const nobody = () => {};
    const calls = [
      (bytes) => notes.insert(bytes), (bytes) => notes.insertMany(bytes), (bytes) => notes.upsert(bytes), (bytes) => notes.upsertMany(bytes),
      (bytes) => notes.update('x', bytes), (bytes) => notes.find(bytes), (bytes) => notes.page(bytes), (bytes) => notes.count(bytes),
      (bytes) => notes.explain(bytes, true), (bytes) => notes.live(bytes, 0, nobody, nobody).close(), (bytes) => database.committedElsewhere(bytes),
      (bytes) => database.transaction().insert('notes', bytes),
    ];
    let refused = 0;
    for (let round = 0; round < 300; round += 1) {
      const bytes = random(3) === 0 ? Uint8Array.from({ length: random(40) }, () => random(256)) : good.slice(0, 1 + random(good.length));
      if (bytes.length > 0) for (let flips = random(4); flips > 0; flips -= 1) bytes[random(bytes.length)] = random(256);
      for (const call of calls) {
        const found = await code(() => call(bytes));
        if (found === undefined) throw new Error(`no code for ${bytes}`);
        if (found !== 'nothing') refused += 1;
      }
    }
    if (refused < 1_000) throw new Error(`only ${refused} were refused`);
    const deep = new Uint8Array(100_000).fill(0x91);
    for (const call of calls) if (!['validation', 'bad-query', 'document-too-large'].includes(await code(() => call(deep)))) throw new Error(`deep: ${call}`);
    equal(body(await notes.upsert(encode({ _id: 'x', well: true }))), { well: true }, 'it still works');
  },

  async what_is_freed_in_flight_is_done_all_the_same() {
    const storage = pocket.RawStorage.memory();
    const { database, notes } = await open(storage);
    const inserts = Array.from({ length: 50 }, (_, n) => notes.insert(encode({ _id: `${n}` })));
    const transaction = database.transaction();
    transaction.insert('notes', encode({ _id: 'in a transaction' }));
    const commit = transaction.commit();
    const found = notes.count(query());
    transaction.free();
    notes.free();
    database.free();
    equal((await Promise.all(inserts)).length, 50, 'inserts');
    await commit;
    if (!((await found) >= 0)) throw new Error('a count');
    equal(typeof (await code(() => notes.get('1'))), 'undefined', 'what was freed throws');
    const again = await open(storage);
    equal(await again.notes.count(query()), 51, 'all of it is there');
  },

  async settings_indexes_and_migrations_are_kept() {
    const storage = pocket.RawStorage.memory();
    const limits = { documentDepth: 60 };
    const first = await open(storage, { limits });
    await first.database.createCollection(JSON.stringify({ name: 'users', indexes: [{ fields: ['email'], unique: true }], ttl: { field: 'until', afterMs: 5 } }));
    const users = first.database.collection('users');
    await users.createIndex(JSON.stringify({ name: 'by age', fields: [{ field: 'age', order: 'desc' }], sparse: true, filter: { age: { $gt: 3 } } }));
    await users.insert(encode({ email: 'a@x' }));
    equal(await code(() => users.insert(encode({ email: 'a@x' }))), 'index-unique-violation', 'a unique index');
    equal(JSON.parse(users.indexes()).map(({ name, ready }) => [name, ready]), [['email_1', true], ['by age', true]], 'indexes');
    const config = JSON.parse(first.database.listCollections()).find(({ name }) => name === 'users');
    equal(config.ttl, { field: 'until', afterMs: 5 }, 'settings');
    equal(config.indexes[1].filter, { age: { $gt: 3 } }, 'a filter');
    await first.notes.insertMany(encode([{ _id: 'a', done: true }, { _id: 'b', done: false }, { _id: 'c', done: 'never' }]));
    // Deeper than documents may be unless a database says so.
    let deep = {};
    for (let level = 1; level < 50; level += 1) deep = { deep };
    await first.notes.insert(encode({ _id: 'd', deep }));
    await first.database.close();
    const migrations = [{ version: 2, collection: 'notes', migrate: (bytes, id) => {
      const note = decode(bytes);
      if (note.done === 'never') return null;
      return 'done' in note ? encode({ completed: note.done, was: id }) : undefined;
    } }];
    const broken = [{ ...migrations[0], migrate: async () => null }];
    equal(await code(() => open(storage, { schemaVersion: 2, limits }, broken)), 'migration', 'a migration that gives a promise');
    const second = await open(storage, { schemaVersion: 2, limits }, migrations);
    equal(second.database.schemaVersion, 2, 'the version');
    equal(decode(await second.notes.find(query())).map((row) => row[3]), [{ completed: true, was: 'a' }, { completed: false, was: 'b' }, { deep }], 'migrated');
  },

  async two_handles_on_indexeddb_tell_each_other_what_they_commit() {
    const storage = () => pocket.RawStorage.indexedDb('{"prefix":"face ","durability":"relaxed"}');
    const one = await open(storage());
    const two = await open(storage());
    const told = one.database.committed((message) => two.database.committedElsewhere(message));
    const followed = follow(two.notes, {});
    await until(() => followed.steps === 1, 'the first step');
    await one.notes.insert(encode({ _id: 'from one', n: 1 }));
    await until(() => followed.list.length === 1, 'what the other wrote');
    told.close();
    await one.notes.insert(encode({ _id: 'silently', n: 2 }));
    await two.database.catchUp();
    await until(() => followed.list.length === 2, 'what was read again');
    await Promise.all([one.notes.update('from one', encode({ a: 1 })), two.notes.update('from one', encode({ b: 2 }))]);
    equal(body(await one.notes.get('from one')), { n: 1, a: 1, b: 2 }, 'no write is lost');
    if (!['persistent', 'best-effort'].includes(await one.database.persistence())) throw new Error('persistence');
    await one.database.close();
    await two.database.close();
    const three = await open(storage());
    equal(await three.notes.count(query()), 2, 'it stays');
  },

  async a_sync_engine_without_a_server_is_offline_and_says_so() {
    const { database, notes } = await open();
    await notes.insert(encode({ n: 1 }));
    const sync = new pocket.RawSync(database, JSON.stringify({ server_url: 'ws://127.0.0.1:9', max_retry_attempts: 0 }), {});
    const snapshots = [];
    const watch = sync.watch((snapshot) => snapshots.push(JSON.parse(snapshot)));
    await sync.start();
    for (const call of ['forceSync', 'push', 'pull']) equal(await code(() => sync[call]()), 'connect', call);
    equal(await sync.pendingChanges(), 1, 'what waits');
    equal(JSON.parse(sync.snapshot()).status, 'offline', 'the status');
    await until(() => snapshots.at(-1)?.stats.lastError?.code === 'connect', 'the watcher hears');
    await sync.stop();
    await sync.destroy();
    equal(await code(() => sync.start()), 'destroyed', 'after the end');
    watch.close();
    sync.free();
  },
};

globalThis.face = {
  cases: () => Object.keys(cases),
  run: async (name) => {
    const uncaught = new Promise((_, reject) => addEventListener('error', (event) => reject(new Error(event.message))));
    await Promise.race([cases[name](), uncaught]);
  },
};

await init();
document.title = 'ready';
