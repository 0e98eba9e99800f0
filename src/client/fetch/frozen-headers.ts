let frozen: Headers | undefined;

/** Makes headers unchangeable, as those of a response are; they stay the platform's in everything else. */
export function freeze(headers: Headers): Headers {
  frozen ??= prototype();
  return Object.setPrototypeOf(headers, frozen);
}

function prototype(): Headers {
  const refuse = (name: 'append' | 'set' | 'delete'): PropertyDescriptor => ({
    value(...args: never[]) {
      // What is wrong with a name or a value is said first.
      (Headers.prototype[name] as (...args: never[]) => void).apply(new Headers(), args);
      throw new TypeError('immutable');
    },
    enumerable: true,
    writable: true,
    configurable: true,
  });
  return Object.create(Headers.prototype, {
    append: refuse('append'),
    set: refuse('set'),
    delete: refuse('delete'),
  });
}
