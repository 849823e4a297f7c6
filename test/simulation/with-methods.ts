/**
 * The same object with methods of its own in front. All methods are bound at once: stores are called by the
 * thousand. What is no method is read where it stands.
 */
export const withMethods = <A extends object>(object: A, own: Partial<A>): A => {
  const made = {};
  for (
    let level: object | null = object;
    level !== null && level !== Object.prototype;
    level = Reflect.getPrototypeOf(level)
  )
    for (const key of Reflect.ownKeys(level)) {
      if (Object.hasOwn(made, key)) continue;
      const value: unknown = Object.hasOwn(own, key)
        ? Reflect.get(own, key)
        : Reflect.getOwnPropertyDescriptor(level, key)?.value;
      Object.defineProperty(
        made,
        key,
        typeof value === 'function'
          ? { value: Object.hasOwn(own, key) ? value : (value.bind(object) as unknown) }
          : { get: () => Reflect.get(object, key) as unknown },
      );
    }
  return made as A;
};
