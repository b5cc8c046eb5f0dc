// What the types let through and what they refuse: this file is only compiled. Each `@ts-expect-error` is a line that
// would be an error of its own if the types let it through.

import type { Collection, Database, Filter, LiveState, Patch, Query, Stored } from '@pocket/core';

interface Todo {
  _id: string;
  title: string;
  done?: boolean;
  tags: string[];
  due: Date | null;
  steps: { name: string; minutes: number }[];
  address: { city: string; geo: { lat: number } };
}

type Same<A, B> = (<X>() => X extends A ? 1 : 2) extends <X>() => X extends B ? 1 : 2 ? true : false;
const is = <T extends true>(): T | undefined => undefined;

export async function collections(db: Database): Promise<void> {
  const todos = db.collection<Todo>('todos');
  const todo: Omit<Todo, '_id'> = { title: 'x', tags: [], due: null, steps: [], address: { city: '', geo: { lat: 0 } } };
  const stored = await todos.insert(todo);
  is<Same<typeof stored, Stored<Todo>>>();
  await todos.insert({ _id: '1', ...todo });
  await todos.upsert({ ...stored, done: true });
  // @ts-expect-error a field is missing
  await todos.insert({ title: 'x' });
  // @ts-expect-error a field has another type
  await todos.insert({ ...todo, title: 5 });
  // @ts-expect-error there is no such field
  await todos.insert({ ...todo, titel: 'x' });

  await todos.update('1', { title: 'y', done: undefined });
  // @ts-expect-error a field has another type
  await todos.update('1', { title: 5 });
  // @ts-expect-error the id cannot be changed
  await todos.update('1', { _id: '2' });
  // @ts-expect-error there is no such field
  await todos.update('1', { titel: 'y' });
  const patch: Patch<Todo> = { tags: ['a'] };
  await todos.update('1', patch);

  const found = await todos.get('1');
  // @ts-expect-error it may not be there
  found.title.trim();
  found?.title.trim();
  const read: Todo | null = found;
  void read;

  // Without a type everything goes.
  const any = db.collection('todos');
  await any.insert({ _id: '1', title: 'Task', completed: false });
  const title: string = (await any.get('1'))?.['title'];
  void title;
  await any.update('1', { whatever: [1, 2] });
  await any.find({ title: 'x', n: { $gt: 5 }, $or: [{ a: 1 }], 'a.b': null }).all();
  await any.find().where('a.b').gt(5).sort('c').all();

  // Types without an id have one when they are read.
  const notes = db.collection<{ text: string }>('notes');
  const id: string = (await notes.insert({ text: 'x' }))._id;
  void id;

  // Each member of a union is inserted as itself.
  const shapes = db.collection<{ kind: 'a'; a: number } | { kind: 'b'; b: string }>('shapes');
  await shapes.insert({ kind: 'a', a: 1 });
  // @ts-expect-error a field of the other one
  await shapes.insert({ kind: 'a', b: 'x' });
}

export function filters(): Filter<Todo>[] {
  const good: Filter<Todo>[] = [
    {},
    { title: 'x' },
    { title: { $startsWith: 'x', $ne: 'xy' }, done: true },
    { tags: 'one of them', due: null },
    { tags: ['a', 'b'] },
    { tags: { $all: ['a'], $size: 2, $contains: 'a', $in: ['a', ['b']] } },
    { due: { $gt: new Date(), $between: [new Date(), new Date()] } },
    { steps: { $elemMatch: { name: 'x', minutes: { $lt: 5 } } } },
    { 'address.city': 'Graz', 'steps.0.name': { $regex: 'x' } },
    { $or: [{ title: 'x' }, { $nor: [{ done: true }] }], $not: { title: { $not: { $eq: 'x' } } } },
    { _id: { $in: ['1', '2'] } },
    { 'steps.minutes': { $lt: 5 }, 'address.geo.lat': { $gt: 5 }, 'tags.0': 'a' },
    { done: { $exists: false } },
  ];
  const bad: Filter<Todo>[] = [
    // @ts-expect-error there is no such field
    { titel: 'x' },
    // @ts-expect-error a number is no title
    { title: 5 },
    // @ts-expect-error there is no such operator
    { title: { $like: 'x' } },
    // @ts-expect-error a date is no text
    { title: { $gt: new Date() } },
    // @ts-expect-error a boolean does not begin with something
    { done: { $startsWith: 'x' } },
    // @ts-expect-error a text has no size
    { title: { $size: 2 } },
    // @ts-expect-error tags are texts
    { tags: { $contains: 5 } },
    // @ts-expect-error a step has no such field
    { steps: { $elemMatch: { nmae: 'x' } } },
    // @ts-expect-error inside, too
    { $or: [{ titel: 'x' }] },
    // @ts-expect-error an id is text
    { _id: 5 },
    // @ts-expect-error there is no such field in an address
    { 'address.citty': 'Graz' },
    // @ts-expect-error nor such an address
    { 'adress.city': 'Graz' },
    // @ts-expect-error a city is text
    { 'address.city': 5 },
    // @ts-expect-error minutes are numbers, in each step
    { 'steps.0.minutes': 'five' },
    // @ts-expect-error a condition that is undefined would find everything
    { title: undefined },
  ];
  return [...good, ...bad];
}

export function queries(todos: Collection<Todo>): void {
  const query: Query<Todo> = todos.find();
  query.where('title').eq('x').where('address.city').startsWith('G').where('address.geo.lat').gt(5);
  query.where('tags').contains('a').where('tags').eq('a').where('steps').elemMatch({ name: 'x' }).where('_id').gt('a');
  query.where('steps.minutes').lt(5).where('steps.0.name').eq('x').where('due').eq(null);
  // @ts-expect-error a title is text
  query.where('title').eq(5);
  // @ts-expect-error a latitude is a number
  query.where('address.geo.lat').gt('5');
  // @ts-expect-error minutes are numbers
  query.where('steps.minutes').lt('5');
  // @ts-expect-error nothing is greater than null
  query.where('due').gt(null);
  // @ts-expect-error a tag is text
  query.where('tags').all([5]);
  // @ts-expect-error there is no such field
  query.where('titel');
  // @ts-expect-error there is no such field in an address
  query.where('address.citty');
  // @ts-expect-error there is no such field in a step
  query.where('steps.0.nmae');
  // @ts-expect-error a title has nothing in it
  query.where('title.length');
  // @ts-expect-error there is no such field
  query.sort('titel');
  // @ts-expect-error there is no such field
  query.include('title', 'titel');
  // @ts-expect-error there is no such field in an address
  query.exclude('address.citty');
  // @ts-expect-error a boolean does not begin with something
  query.where('done').startsWith('x');
  // @ts-expect-error nor is a pattern found in it
  query.where('done').matches('x');
  // @ts-expect-error a tag is text
  query.where('tags').contains(5);
  // @ts-expect-error one of two directions
  query.sort('title', 'up');

  const included = query.include('title', 'done');
  is<Same<Awaited<ReturnType<typeof included.all>>[number], Stored<Pick<Todo, 'title' | 'done'>>>>();
  const live = included.live();
  is<Same<ReturnType<typeof live.getSnapshot>, LiveState<Stored<Pick<Todo, 'title' | 'done'>>> | undefined>>();
  const excluded = query.exclude('steps').sort('steps.name').where('steps').size(1);
  void excluded.first().then((todo) => {
    todo?.title.trim();
    // @ts-expect-error it was left out
    todo?.steps.length;
  });

  // Of what a path leads into, only a part is there.
  const city = todos.find().include('address.city', 'steps.name');
  void city.first().then((todo) => {
    const id: string | undefined = todo?._id;
    const name: string | undefined = todo?.address?.city ?? todo?.steps?.[0]?.name;
    const due: Date | null | undefined = todo?.due;
    void [id, name, due];
    todo?.address?.geo?.lat?.toFixed();
    todo?.due?.getTime();
    // @ts-expect-error nothing of it was asked for
    todo?.address?.geo.lat;
    // @ts-expect-error its field may be missing, though there is an address
    todo?.address?.city.trim();
    // @ts-expect-error so may a field of an element
    todo?.steps?.[0]?.name.trim();
    // @ts-expect-error it is no whole to-do
    const whole: Todo | null | undefined = todo;
    void whole;
    // @ts-expect-error nor a whole address
    const address: Todo['address'] | undefined = todo?.address;
    void address;
  });
  void todos.find().exclude('address.geo.lat').all().then(([todo]) => {
    todo?.address?.city?.trim();
    // @ts-expect-error it was left out
    todo?.address?.geo?.lat.toFixed();
  });
  // What was left out before stays left out.
  void todos.find().exclude('address.geo').exclude('steps').exclude('tags').all().then(([todo]) => {
    todo?.title?.trim();
    // @ts-expect-error left out by the first
    todo?.address?.geo.lat.toFixed();
    // @ts-expect-error left out by the second
    todo?.steps;
    // @ts-expect-error left out by the third
    todo?.tags;
  });
  // A field at the top comes as a whole.
  void todos.find().include('address').first().then((todo) => todo?.address.geo.lat.toFixed());
}

export function untyped(any: Collection): void {
  void any.find().include('a.b').first().then((document) => document?.['a'].b.c);
  void any.find().exclude('a.b').first().then((document) => document?.['a'].b.c);
}
