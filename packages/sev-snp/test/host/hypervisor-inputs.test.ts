import { PAGE_SIZE, PageSize, pageNumber, physAddr } from '@svsm/address';
import { describe, expect, test } from 'vitest';
import { createVmsa } from '../../src/cpu/vcpu-state.ts';
import type { SysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { HostileHypervisor } from '../../src/host/hostile-hypervisor.ts';
import {
  bytesOf,
  gvaOf,
  MiB,
  snapshot,
  spaOf,
  textOf,
  thrownBy,
  type World,
  world,
} from '../support/world.ts';

const A = 0x5000;
const untyped = (value: unknown): never => value as never;

function attacked(): World & { host: HostileHypervisor; page: SysPhysAddr } {
  const it = world(
    { hypervisor: (machine) => new HostileHypervisor(machine) },
    { pageSize: PageSize.Regular },
  );
  it.vcpu.write(gvaOf(A), bytesOf('private'));
  return { ...it, host: it.machine.hypervisor as HostileHypervisor, page: spaOf(it, A) };
}

/** Bytes that have the length 0 in the first `lies` reads of their length. */
class LyingBytes extends Uint8Array {
  lies = 0;

  override get length(): number {
    this.lies -= 1;
    return this.lies >= 0 ? 0 : super.length;
  }

  override get byteLength(): number {
    return this.length;
  }
}

/** An object that is `first` for the first `count` conversions, then `then`. */
function changing(first: bigint, count: number, then: bigint): never {
  let left = count;
  return untyped({ [Symbol.toPrimitive]: () => (left-- > 0 ? first : then) });
}

// A1
describe('a write of the host', () => {
  test('is checked with the length that the bytes have, whatever they say', () => {
    for (let lies = 0; lies < 8; lies += 1) {
      const it = attacked();
      const bytes = new LyingBytes(PAGE_SIZE);
      bytes.lies = lies;
      expect(thrownBy(() => it.host.write(it.page, bytes))?.code).toBe('HOST_PF');
      expect(textOf(it.vcpu.read(gvaOf(A), 7))).toBe('private');
    }
  });

  test('calls no code of the host between the check and the write', () => {
    const it = attacked();
    const own = it.host.allocatePage();
    const bytes = new Proxy(new Uint8Array(16), {
      get: (target, name) => {
        it.host.rmpupdate(own, { assigned: true, asid: it.guest.asid, gpa: physAddr(A) });
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    expect(thrownBy(() => it.host.write(own, bytes))?.code).toBe('HOST_PF');
  });

  test('has one address', () => {
    for (let count = 0; count < 8; count += 1) {
      const it = attacked();
      const address = changing(it.host.allocatePage(), count, it.page);
      expect(() => it.host.write(address, new Uint8Array(16))).toThrow();
      const before = snapshot(it.machine.rmp);
      const another = changing(it.host.allocatePage(), count, it.host.allocatePage());
      expect(() => it.host.rmpupdate(another, { assigned: true, immutable: true })).toThrow();
      expect(snapshot(it.machine.rmp)).toBe(before);
      const frame = changing(BigInt(pageNumber(it.host.allocatePage())), count, BigInt(pageNumber(it.page)));
      try {
        it.host.memory.words(frame, true).fill(0);
      } catch {
        // The frame is that of the guest.
      }
      expect(textOf(it.vcpu.read(gvaOf(A), 7))).toBe('private');
    }
  });

  test('refuses what cannot be read as bytes, and nothing changes', () => {
    const it = attacked();
    const before = [snapshot(it.machine.rmp), it.host.capture(it.page)];
    const unreadable = new Proxy(new Uint8Array(1), {
      get() {
        throw new Error('not readable');
      },
    });
    for (const bytes of [undefined, null, 5, 'text', [1, 2], new ArrayBuffer(8), unreadable]) {
      const refused = { code: 'INVALID_ARGUMENT' };
      expect(thrownBy(() => it.host.write(it.page, untyped(bytes)))).toMatchObject(refused);
      expect(thrownBy(() => it.host.replay(it.guest, physAddr(A), untyped(bytes)))).toMatchObject(refused);
    }
    expect([snapshot(it.machine.rmp), it.host.capture(it.page)]).toEqual(before);
  });
});

// T1
test('RMPUPDATE reads the page size once, and ends the arrays of the page that it changed', () => {
  const it = attacked();
  const page = it.host.allocatePage();
  const held = it.host.memory.words(pageNumber(page), true);
  let reads = 0;
  it.host.rmpupdate(page, {
    assigned: true,
    immutable: true,
    get pageSize() {
      reads += 1;
      return reads === 1 ? PageSize.Regular : untyped(0);
    },
  });
  held.fill(7);
  expect([reads, it.host.read(page, 1)[0]]).toEqual([1, 0]);
});

test('a launch reads images and VMSAs once', () => {
  const { machine } = world();
  const reads: string[] = [];
  const watched = <Target extends object>(target: Target, path: string): Target =>
    new Proxy(target, {
      get(it, name, receiver) {
        if (typeof name === 'string') reads.push(`${path}.${name}`);
        return Reflect.get(it, name, receiver);
      },
    });
  const bytes = new LyingBytes(16).fill(9);
  bytes.lies = 1;
  const image = [watched({ gpa: physAddr(0x1000), bytes }, 'image')];
  const guest = machine.hypervisor.launch({ size: 2 * MiB, image, vmsas: [createVmsa()] });
  expect(reads.toSorted()).toEqual(['image.bytes', 'image.gpa', 'image.unmeasured']);
  const { spa } = guest.nested.lookup(physAddr(0x1000))!;
  const { key } = machine.firmware.activeGuest(guest.context)!;
  expect([...machine.memory.read(spa, 17, key!)]).toEqual([...new Array(16).fill(9), 0]);
  const bad = { size: 2 * MiB, image: [{ gpa: physAddr(0), bytes: untyped('text') }] };
  expect(thrownBy(() => machine.hypervisor.launch(bad))?.code).toBe('INVALID_ARGUMENT');
});
