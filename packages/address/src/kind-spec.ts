import { AddressError } from './address-error.ts';
import { describeValue } from './describe-value.ts';

/** The description of an address kind, for `defineAddressKind`. */
export interface AddressKindSpec {
  /** The name in messages. Give each kind its own name. */
  readonly name: string;
  /** Significant bits: 48 to 64 if sign-extended, else 12 to 64. */
  readonly bits: number;
  /** Whether bits 63 to `bits` repeat bit `bits − 1` (a canonical address); else they are zero. */
  readonly signExtended: boolean;
}

const KEYS: readonly string[] = ['name', 'bits', 'signExtended'] satisfies (keyof AddressKindSpec)[];
const EXPECTED = 'pass { name, bits, signExtended }';

/**
 * A copy of `spec`, each property checked.
 *
 * @throws AddressError `INVALID_KIND`
 */
export function checkedSpec(spec: AddressKindSpec): AddressKindSpec {
  if (typeof spec !== 'object' || spec === null) throw refusal(spec, EXPECTED);
  const { read, other } = readSpec(spec);
  const { name, bits, signExtended } = read;
  if (other !== undefined) {
    throw refusal(name, `it has the unknown property ${describeValue(other)}: ${EXPECTED}`);
  }
  if (typeof name !== 'string' || name === '') throw refusal(name, 'its name must be a non-empty string');
  if (typeof signExtended !== 'boolean') throw refusal(name, 'its signExtended must be true or false');
  const minBits = signExtended ? 48 : 12;
  if (!Number.isInteger(bits) || bits < minBits || bits > 64) {
    throw refusal(name, `its bits must be an integer from ${minBits} to 64, not ${describeValue(bits)}`);
  }
  return read;
}

/** The properties, and the name of one that a description does not have, if there is one. */
function readSpec(spec: AddressKindSpec): { read: AddressKindSpec; other: string | undefined } {
  try {
    const { name, bits, signExtended } = spec;
    const other = Object.keys(spec).find((key) => !KEYS.includes(key));
    return { read: { name, bits, signExtended }, other };
  } catch (cause) {
    throw refusal(spec, 'its properties cannot be read', { cause });
  }
}

function refusal(kind: unknown, problem: string, options?: ErrorOptions): AddressError {
  return new AddressError('INVALID_KIND', { kind, problem }, options);
}
