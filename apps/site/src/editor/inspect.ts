/** Shows values as Node's `console.log` does, so that a page prints the lines that the examples name. */

const CUSTOM = Symbol.for('nodejs.util.inspect.custom');
/** Longer lists are broken into lines. */
const WIDTH = 72;
const MAX_ITEMS = 100;
const MAX_DEPTH = 2;

/** The line that `console.log(...values)` prints. */
export function formatLine(values: readonly unknown[]): string {
  return values.map((value) => (typeof value === 'string' ? value : inspect(value))).join(' ');
}

/** A value as text: `8192n`, `'text'`, `[ 1, 2 ]`, `{ size: 4096 }`. */
export function inspect(value: unknown, depth = 0, seen: readonly unknown[] = []): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `[Function: ${value.name || 'anonymous'}]`;
  if (Object.is(value, -0)) return '-0';
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Error) return value.stack ?? String(value);
  if (seen.includes(value)) return '[Circular]';
  const custom: unknown = Reflect.get(value, CUSTOM);
  if (typeof custom === 'function') {
    const shown: unknown = custom.call(value, MAX_DEPTH - depth, {}, inspect);
    return typeof shown === 'string' ? shown : inspect(shown, depth, [...seen, value]);
  }
  return inspectObject(value, depth, [...seen, value]);
}

function inspectObject(value: object, depth: number, seen: readonly unknown[]): string {
  const type = typeOf(value);
  if (depth > MAX_DEPTH) return Array.isArray(value) ? '[Array]' : `[${type || 'Object'}]`;
  const show = (inner: unknown): string => inspect(inner, depth + 1, seen);
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
    const items = value as unknown as ArrayLike<unknown>;
    const prefix = Array.isArray(value) ? '' : `${type}(${items.length}) `;
    return prefix + list('[', limited(items, show), ']');
  }
  if (value instanceof Map) {
    const entries = Array.from(value, ([key, inner]) => `${show(key)} => ${show(inner)}`);
    return `Map(${value.size}) ${list('{', entries, '}')}`;
  }
  if (value instanceof Set) return `Set(${value.size}) ${list('{', Array.from(value, show), '}')}`;
  const entries = Object.entries(value).map(([key, inner]) => `${keyOf(key)}: ${show(inner)}`);
  const tag: unknown = Reflect.get(value, Symbol.toStringTag);
  const tagged = typeof tag === 'string' && tag !== '' && tag !== type ? `${type} [${tag}]` : type;
  const prefix = tagged === 'Object' || tagged === '' ? '' : `${tagged} `;
  return prefix + list('{', entries, '}');
}

function limited(items: ArrayLike<unknown>, show: (item: unknown) => string): string[] {
  const shown = Array.from({ length: Math.min(items.length, MAX_ITEMS) }, (_, i) => show(items[i]));
  const more = items.length - shown.length;
  return more > 0 ? [...shown, `... ${more} more item${more > 1 ? 's' : ''}`] : shown;
}

function list(open: string, items: readonly string[], close: string): string {
  if (items.length === 0) return open + close;
  const line = `${open} ${items.join(', ')} ${close}`;
  if (line.length <= WIDTH && !line.includes('\n')) return line;
  return `${open}\n  ${items.join(',\n').replaceAll('\n', '\n  ')}\n${close}`;
}

function typeOf(value: object): string {
  const prototype: { constructor?: { name?: string } } | null = Object.getPrototypeOf(value);
  return prototype === null ? '[Object: null prototype]' : (prototype.constructor?.name ?? '');
}

function keyOf(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : quote(key);
}

function quote(text: string): string {
  const escaped = text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\t', '\\t');
  if (!text.includes("'")) return `'${escaped}'`;
  const mark = ['"', '`'].find((mark) => !text.includes(mark));
  return mark === undefined ? `'${escaped.replaceAll("'", "\\'")}'` : mark + escaped + mark;
}
