// As much of MessagePack as the cases need. A Date is a timestamp, a bigint an integer of 64 bits.
export function encode(value) {
  const out = [];
  const big = (number, bytes) => {
    for (let at = bytes - 1; at >= 0; at -= 1) out.push(Number((BigInt.asUintN(64, BigInt(number)) >> BigInt(8 * at)) & 255n));
  };
  const write = (value) => {
    if (value === null) out.push(0xc0);
    else if (typeof value === 'boolean') out.push(value ? 0xc3 : 0xc2);
    else if (typeof value === 'bigint') { out.push(value < 0n ? 0xd3 : 0xcf); big(value, 8); }
    else if (typeof value === 'number' && Number.isInteger(value)) {
      if (value >= 0 && value < 128) out.push(value);
      else { out.push(value < 0 ? 0xd3 : 0xcf); big(value, 8); }
    } else if (typeof value === 'number') {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setFloat64(0, value);
      out.push(0xcb, ...bytes);
    } else if (typeof value === 'string') {
      const bytes = new TextEncoder().encode(value);
      out.push(0xdb); big(bytes.length, 4); out.push(...bytes);
    } else if (value instanceof Uint8Array) { out.push(0xc6); big(value.length, 4); out.push(...value); }
    else if (value instanceof Date) {
      const seconds = Math.floor(value / 1000);
      out.push(0xc7, 12, 0xff); big((value - seconds * 1000) * 1e6, 4); big(seconds, 8);
    } else if (Array.isArray(value)) { out.push(0xdd); big(value.length, 4); value.forEach(write); }
    else {
      const entries = Object.entries(value);
      out.push(0xdf); big(entries.length, 4);
      entries.forEach(([key, value]) => { write(key); write(value); });
    }
  };
  write(value);
  return new Uint8Array(out);
}

export function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count) => bytes.slice(at, (at += count));
  const unsigned = (size) => {
    const from = at;
    at += size;
    if (size === 8) return view.getBigUint64(from);
    return size === 4 ? view.getUint32(from) : size === 2 ? view.getUint16(from) : view.getUint8(from);
  };
  const narrow = (big) => (BigInt(Number(big)) === big && Number.isSafeInteger(Number(big)) ? Number(big) : big);
  const list = (count) => Array.from({ length: count }, read);
  const map = (count) => Object.fromEntries(Array.from({ length: count }, () => [read(), read()]));
  const text = (count) => new TextDecoder().decode(take(count));
  const ext = (count) => {
    const kind = unsigned(1);
    if (kind !== 255) throw new Error(`extension ${kind}`);
    if (count === 4) return new Date(unsigned(4) * 1000);
    if (count === 8) {
      const both = unsigned(8);
      return new Date(Number(both & 0x3ffffffffn) * 1000 + Number(both >> 34n) / 1e6);
    }
    const nanos = unsigned(4);
    return new Date(Number(BigInt.asIntN(64, unsigned(8))) * 1000 + nanos / 1e6);
  };
  function read() {
    const kind = unsigned(1);
    if (kind < 0x80) return kind;
    if (kind < 0x90) return map(kind & 15);
    if (kind < 0xa0) return list(kind & 15);
    if (kind < 0xc0) return text(kind & 31);
    if (kind >= 0xe0) return kind - 256;
    switch (kind) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return take(unsigned(1 << (kind - 0xc4)));
      case 0xc7: return ext(unsigned(1));
      case 0xca: at += 4; return view.getFloat32(at - 4);
      case 0xcb: at += 8; return view.getFloat64(at - 8);
      case 0xcc: case 0xcd: case 0xce: return unsigned(1 << (kind - 0xcc));
      case 0xcf: return narrow(unsigned(8));
      case 0xd0: at += 1; return view.getInt8(at - 1);
      case 0xd1: at += 2; return view.getInt16(at - 2);
      case 0xd2: at += 4; return view.getInt32(at - 4);
      case 0xd3: at += 8; return narrow(view.getBigInt64(at - 8));
      case 0xd6: case 0xd7: return ext(1 << (kind - 0xd4));
      case 0xd9: case 0xda: case 0xdb: return text(unsigned(1 << (kind - 0xd9)));
      case 0xdc: case 0xdd: return list(unsigned(2 << (kind - 0xdc)));
      case 0xde: case 0xdf: return map(unsigned(2 << (kind - 0xde)));
      default: throw new Error(`byte ${kind}`);
    }
  }
  return read();
}
