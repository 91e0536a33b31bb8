import { PAGE_SIZE } from '@svsm/address';
import { refuseArgument, requireInteger } from '../formats/arguments.ts';
import { isBytes } from '../formats/byte-fields.ts';

export function requireKey(key: number): void {
  if (!Number.isInteger(key)) refuseArgument('the key', key, 'pass a key from createKey, or NO_KEY');
}

export function requireBytes(bytes: Uint8Array): void {
  if (!isBytes(bytes)) refuseArgument('bytes', bytes, 'pass a Uint8Array');
}

/** Requires that bytes lie within a frame. */
export function requireWithin(offset: number, length: number): void {
  requireInteger('offset', offset, 0, PAGE_SIZE);
  requireInteger('length', length, 0, PAGE_SIZE - offset);
}
