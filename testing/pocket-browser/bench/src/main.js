// Measures all contestants, in another order in each round, and gives every figure in milliseconds.
import { contestants } from './contestants.js';

const SMALL = 500;
const LARGE = 10_000;
const GETS = 1_000;

/** About 200 bytes of JSON. */
const note = (n) => ({
  _id: `note-${String(n).padStart(8, '0')}`,
  n,
  title: `Something that is to be done before the end of the week, number ${n}`,
  done: n % 3 === 0,
  tags: ['home', 'week', `tag-${n % 17}`],
});
const notes = (count, from = 0) => Array.from({ length: count }, (_, n) => note(from + n));

const timed = async (work) => {
  const began = performance.now();
  await work();
  return performance.now() - began;
};

let made = 0;

async function measure(open) {
  const figures = {};
  const fresh = async (use) => {
    made += 1;
    const db = await open(`bench ${made}`);
    try {
      await use(db);
    } finally {
      await db.close();
    }
  };
  await fresh(async (db) => {
    // Documents are made before the clock runs.
    const all = notes(SMALL);
    figures.insertMany = await timed(() => db.insertMany(all));
    if ((await db.all()).length !== SMALL) throw new Error('documents are missing');
  });
  await fresh(async (db) => {
    const all = notes(SMALL);
    figures.insertTick = await timed(() => Promise.all(all.map((one) => db.insert(one))));
    if ((await db.all()).length !== SMALL) throw new Error('documents are missing');
  });
  await fresh(async (db) => {
    for (let from = 0; from < LARGE; from += 1_000) await db.insertMany(notes(1_000, from));
    figures.all = await timed(async () => {
      if ((await db.all()).length !== LARGE) throw new Error('documents are missing');
    });
    figures.gets = await timed(async () => {
      for (let count = 0; count < GETS; count += 1) {
        const { n } = note((count * 7_919) % LARGE);
        if ((await db.get(note(n)._id)).n !== n) throw new Error('another document came');
      }
    });
    // A live query of a hundred of them; how long until it tells of one more.
    let told = () => {};
    const next = (length) =>
      new Promise((resolve) => {
        told = (now) => now === length && resolve();
      });
    let waiting = next(100);
    const end = db.live(LARGE - 100, (length) => told(length));
    await waiting;
    const times = [];
    for (let more = 1; more <= 15; more += 1) {
      const one = note(LARGE + more);
      waiting = next(100 + more);
      times.push(
        await timed(async () => {
          await Promise.all([db.insert(one), waiting]);
        }),
      );
    }
    end();
    figures.live = median(times);
  });
  return figures;
}

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** Every figure of every round: `{ contestant: { measure: [ms, …] } }`. The first round warms up, and is left out. */
globalThis.measureAll = async (rounds) => {
  const figures = {};
  for (let round = 0; round <= rounds; round += 1) {
    const order = Object.keys(contestants)
      .map((name) => [Math.random(), name])
      .sort(([a], [b]) => a - b);
    for (const [, name] of order) {
      const measured = await measure(contestants[name]);
      if (round === 0) continue;
      const mine = (figures[name] ??= {});
      for (const [what, ms] of Object.entries(measured)) (mine[what] ??= []).push(ms);
    }
  }
  return figures;
};

document.title = 'ready';
