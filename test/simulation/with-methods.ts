/** The same object with methods of its own in front. Methods are bound once: stores are called by the thousand. */
export const withMethods = <A extends object>(object: A, own: Partial<A>): A => {
  const bound = new Map<PropertyKey, unknown>(Object.entries(own));
  return new Proxy(object, {
    get: (target, key) => {
      const known = bound.get(key);
      if (known !== undefined) return known;
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== 'function') return value;
      const method = value.bind(target) as unknown;
      bound.set(key, method);
      return method;
    },
  });
};
