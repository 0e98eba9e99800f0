/**
 * Checks options against a description of them: unknown keys, wrong types and values out of bounds throw at once,
 * naming option, bound and value.
 */
export type Check = (value: unknown, name: string) => void;

export type Shape = Readonly<Record<string, Check>>;

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}

function wrong(name: string, expected: string, value: unknown): TypeError {
  return new TypeError(
    `${name === '' ? 'options' : `option ${name}`} must be ${expected}, got ${show(value)}`,
  );
}

/** A finite number within bounds, both included. */
export function number(min: number, max: number = Number.MAX_SAFE_INTEGER): Check {
  return (value, name) => {
    if (typeof value !== 'number') throw wrong(name, 'a number', value);
    if (!(value >= min && value <= max)) {
      throw new RangeError(`option ${name} must be between ${min} and ${max}, got ${value}`);
    }
  };
}

export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): Check {
  const inRange = number(min, max);
  return (value, name) => {
    inRange(value, name);
    if (!Number.isInteger(value))
      throw new RangeError(`option ${name} must be an integer, got ${show(value)}`);
  };
}

/** A finite number of ms, more than 0. */
export const finiteDuration: Check = (value, name) => {
  duration(value, name);
  number(0)(value, name);
};

/** A duration in ms: positive, or `Infinity` for none. */
export const duration: Check = (value, name) => {
  if (typeof value !== 'number') throw wrong(name, 'a number of ms', value);
  if (!(value > 0)) throw new RangeError(`option ${name} must be more than 0 ms, got ${value}`);
};

export const string: Check = (value, name) => {
  if (typeof value !== 'string' || value === '') throw wrong(name, 'a non-empty string', value);
};

export const boolean: Check = (value, name) => {
  if (typeof value !== 'boolean') throw wrong(name, 'true or false', value);
};

export const func: Check = (value, name) => {
  if (typeof value !== 'function') throw wrong(name, 'a function', value);
};

export const object: Check = (value, name) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw wrong(name, 'an object', value);
};

/** What `check` accepts, if `low` is not above `high` where both are given. */
export function ordered(low: string, high: string, check: Check): Check {
  return (value, name) => {
    check(value, name);
    const { [low]: least, [high]: most } = value as Record<string, number | undefined>;
    if (least !== undefined && most !== undefined && least > most)
      throw new RangeError(
        `option ${name}.${low} must not be above ${name}.${high}, got ${least} and ${most}`,
      );
  };
}

export function oneOf(...values: readonly unknown[]): Check {
  return (value, name) => {
    if (!values.includes(value)) throw wrong(name, `one of ${values.map(show).join(', ')}`, value);
  };
}

export function arrayOf(check: Check): Check {
  return (value, name) => {
    if (!Array.isArray(value)) throw wrong(name, 'an array', value);
    value.forEach((entry, i) => {
      check(entry, `${name}[${i}]`);
    });
  };
}

/** An object that has these methods, e.g. `implementing('a Balancer', 'pick')`; a class whose static methods they are will do. */
export function implementing(what: string, ...methods: readonly string[]): Check {
  return (value, name) => {
    const object = value as Record<string, unknown> | null;
    if (typeof value === 'function' && methods.every((method) => typeof object?.[method] === 'function'))
      return;
    if (typeof value !== 'object' || object === null) throw wrong(name, what, value);
    for (const method of methods) {
      if (typeof object[method] !== 'function')
        throw new TypeError(`option ${name} must be ${what}: it has no method ${method}()`);
    }
  };
}

export function orFalse(check: Check): Check {
  return (value, name) => {
    if (value !== false) check(value, name);
  };
}

/** An object with none but these keys; a key whose value is undefined counts as absent. */
export function shape(checks: Shape): Check {
  return (value, name) => {
    object(value, name);
    for (const key of Object.keys(value as object)) {
      const path = name === '' ? key : `${name}.${key}`;
      const check = Object.hasOwn(checks, key) ? checks[key] : undefined;
      if (check === undefined) {
        throw new TypeError(`unknown option ${path}: known are ${Object.keys(checks).join(', ')}`);
      }
      const entry = (value as Record<string, unknown>)[key];
      if (entry !== undefined) check(entry, path);
    }
  };
}

/** Checks the options of a factory such as `dns`. */
export function checkOptions(factory: string, checks: Shape, options: unknown): void {
  try {
    shape(checks)(options, '');
  } catch (error) {
    if (error instanceof Error) error.message = `${factory}: ${error.message}`;
    throw error;
  }
}
