/** The number of look-ups in maps, and of entries that loops over maps reach, while `run` runs. */
export function mapSteps(run: () => void): number {
  let steps = 0;
  const { get, [Symbol.iterator]: iterate } = Map.prototype;
  Map.prototype.get = function (key) {
    steps += 1;
    return get.call(this, key);
  };
  Map.prototype[Symbol.iterator] = function () {
    const entries = iterate.call(this);
    return entries.map((entry) => {
      steps += 1;
      return entry;
    });
  };
  try {
    run();
  } finally {
    Map.prototype.get = get;
    Map.prototype[Symbol.iterator] = iterate;
  }
  return steps;
}

/** The number of times that `run` calls a method. */
export function callsOf<Name extends string>(
  owner: Record<Name, (...args: never[]) => unknown>,
  name: Name,
  run: () => void,
): number {
  let calls = 0;
  const method = owner[name];
  owner[name] = function (this: unknown, ...args: never[]) {
    calls += 1;
    return method.apply(this, args);
  };
  try {
    run();
  } finally {
    owner[name] = method;
  }
  return calls;
}

/** The number of sets that `run` makes. */
export function setsMade(run: () => void): number {
  let made = 0;
  const { Set: Plain } = globalThis;
  globalThis.Set = class<T> extends Plain<T> {
    constructor(values?: Iterable<T>) {
      super(values ?? []);
      made += 1;
    }
  } as SetConstructor;
  try {
    run();
  } finally {
    globalThis.Set = Plain;
  }
  return made;
}
