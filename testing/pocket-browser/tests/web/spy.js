// Keeps what the cases look at: every connection that was opened, and the durability of every writing transaction.
globalThis.pocketOpened = [];
globalThis.pocketBegun = [];
// How many that only read were.
globalThis.pocketReads = 0;

const open = IDBFactory.prototype.open;
IDBFactory.prototype.open = function (...given) {
  const request = open.apply(this, given);
  request.addEventListener('success', () => pocketOpened.push(request.result));
  return request;
};

const transaction = IDBDatabase.prototype.transaction;
IDBDatabase.prototype.transaction = function (stores, mode, options) {
  if (mode === 'readwrite') pocketBegun.push(options?.durability);
  else pocketReads += 1;
  return transaction.call(this, stores, mode, options);
};
