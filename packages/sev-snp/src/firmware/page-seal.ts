import { mix } from '../memory/mix.ts';

/** Sealed content: it needs the key to be read, and a change is noticed. A model, as `EncryptedMemory` is. */
export interface SealedPage {
  readonly bytes: Uint8Array;
  /** The tag over content and vector: 16 bytes. */
  readonly tag: Uint8Array;
}

/**
 * Seals bytes with a key and a vector, as AES-256-GCM does for swapped-out pages: content XOR a keystream, and a tag.
 * The tag does not cover the record of the page (AMD-ASPFW `snp_mcmd_swap_out`): only the firmware can write that. It is
 * not cryptography: it finds accidents and simple changes, and keeps no secrets. O(bytes).
 *
 * @param bytes - a multiple of 4 bytes
 */
export function sealPage(bytes: Uint8Array, key: number, iv: bigint): SealedPage {
  const sealed = applyKeystream(bytes, key, iv);
  return { bytes: sealed, tag: tagOf(sealed, key, iv) };
}

/** The content, or `undefined` if a bit of it or of the vector has changed. O(bytes). */
export function unsealPage({ bytes, tag }: SealedPage, key: number, iv: bigint): Uint8Array | undefined {
  const expected = tagOf(bytes, key, iv);
  return expected.every((byte, i) => byte === tag[i]) ? applyKeystream(bytes, key, iv) : undefined;
}

/** 32 bytes that follow from a key: a key of another kind. `purpose` tells several of one key apart. */
export function keyFrom(key: number, purpose: number): Uint8Array {
  return applyKeystream(new Uint8Array(32), key, BigInt(purpose) - (1n << 32n));
}

function applyKeystream(bytes: Uint8Array, key: number, iv: bigint): Uint8Array {
  const result = Uint8Array.from(bytes);
  const words = new Uint32Array(result.buffer);
  let state = seedOf(key, iv, 0x5ea1);
  for (let i = 0; i < words.length; i += 1) {
    state = (state + 0x9e37_79b9) | 0;
    words[i]! ^= mix(state);
  }
  return result;
}

/** Four chains over all bytes, each with its own start. */
function tagOf(bytes: Uint8Array, key: number, iv: bigint): Uint8Array {
  const tag = new Uint32Array(4);
  for (let lane = 0; lane < 4; lane += 1) {
    let state = seedOf(key, iv, lane);
    for (const byte of bytes) state = mix(state ^ byte) + lane;
    tag[lane] = state;
  }
  return new Uint8Array(tag.buffer);
}

function seedOf(key: number, iv: bigint, purpose: number): number {
  return mix(mix(mix(key) ^ Number(BigInt.asIntN(32, iv))) ^ Number(BigInt.asIntN(32, iv >> 32n)) ^ purpose);
}
