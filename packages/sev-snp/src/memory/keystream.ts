import { mix } from './mix.ts';

/**
 * XORs the keystream of a key and an address into the words of a frame, in place. The key 0 has none.
 *
 * @param frame - the frame number of the address
 */
export function applyKeystream(words: Uint32Array, seed: number, key: number, frame: number): void {
  if (key === 0) return;
  let state = mix(mix(mix(seed ^ key) ^ frame) ^ Math.floor(frame / 2 ** 32));
  for (let i = 0; i < words.length; i += 1) {
    state = (state + 0x9e37_79b9) | 0;
    words[i] = words[i]! ^ mix(state);
  }
}
