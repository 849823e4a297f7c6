import type { Database } from '@tidemark/store-level';

/** Database that counts what is read from it: keys asked for and entries walked over. */
export interface CountingDatabase {
  readonly database: Database;
  readonly reads: () => number;
}

/** Wraps a database so that its reads are counted. */
export const countReads = (inner: Database): CountingDatabase => {
  let reads = 0;
  const watchIterator = (iterator: object): object =>
    new Proxy(iterator, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        const call = value as (...args: unknown[]) => unknown;
        if (name !== 'next' && name !== 'nextv' && name !== 'all') return call.bind(target);
        return async (...args: unknown[]) => {
          const found = await (call.apply(target, args) as Promise<unknown>);
          reads += Array.isArray(found) && name !== 'next' ? found.length : 1;
          return found;
        };
      },
    });
  const database = new Proxy(inner, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      const call = value as (...args: unknown[]) => unknown;
      return (...args: unknown[]) => {
        if (name === 'get') reads += 1;
        if (name === 'getMany') reads += (args[0] as readonly unknown[]).length;
        const result = call.apply(target, args);
        return name === 'iterator' || name === 'keys' || name === 'values'
          ? watchIterator(result as object)
          : result;
      };
    },
  });
  return { database, reads: () => reads };
};
