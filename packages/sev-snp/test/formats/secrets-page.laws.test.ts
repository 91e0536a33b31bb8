import { physAddr } from '@svsm/address';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { announceSvsm, decodeSecretsPage } from '../../src/formats/secrets-page.ts';

const word = (bits: number) => fc.bigInt({ min: 0n, max: 2n ** BigInt(bits) - 1n });
const location = fc.record({
  base: word(52).map(physAddr),
  size: word(64).filter((size) => size !== 0n),
  callingArea: word(52).map(physAddr),
  maxVersion: fc.nat(2 ** 32 - 1),
  guestVmpl: fc.integer({ min: 1, max: 3 }),
});

// S1
test('an announced SVSM is decoded as it is, and takes from a page no more than the keys above its guest', () => {
  const page = fc.uint8Array({ minLength: 4096, maxLength: 4096 });
  fc.assert(
    fc.property(page, location, (bytes, svsm) => {
      const before = decodeSecretsPage(bytes);
      const changed = bytes.slice();
      announceSvsm(changed, svsm);
      const vmpcks = before.vmpcks.map((key, vmpl) => (vmpl < svsm.guestVmpl ? new Uint8Array(32) : key));
      expect(decodeSecretsPage(changed)).toEqual({ ...before, vmpcks, svsm });
      // The bytes that nobody names are as before.
      const named = [
        [0x20, 0x20 + 32 * svsm.guestVmpl],
        [0x140, 0x15d],
      ];
      for (const [from, to] of named) changed.set(bytes.subarray(from, to), from);
      expect(changed).toEqual(bytes);
    }),
  );
});
