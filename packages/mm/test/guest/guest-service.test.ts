import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, physAddr, virtAddr } from '@svsm/address';
import { physRegion } from '@svsm/memory-region';
import {
  createVmsa,
  decodeSvsmListHeader,
  EFER_SVME,
  pvalidateBySvsm,
  querySvsmProtocol,
  SvsmCall,
  type SvsmRegisters,
  SvsmResult,
  writeVmsa,
} from '@svsm/sev-snp';
import { describe, expect, test } from 'vitest';
import type { MmEvent } from '../../src/formats/index.ts';
import {
  type Caller,
  GUEST_END,
  GUEST_START,
  type GuestWorld,
  guestWorld,
  writeList,
} from '../support/guest-world.ts';
import { MIB } from '../support/world.ts';

const registersOf = (call: number, rcx = 0n, rdx = 0n, r8 = 0n): SvsmRegisters => ({
  rax: BigInt(call),
  rcx,
  rdx,
  r8,
  r9: 0n,
});
const pvalidate = (world: GuestWorld, caller: Caller, list: bigint): number =>
  world.svsm.serve(caller.vcpu, registersOf(SvsmCall.Pvalidate, list));
const PAGE = GUEST_START + 8 * MIB;
const huge = (first: number, count: number, validate: boolean) =>
  Array.from({ length: count }, (_, i) => ({ gpa: first + i * PAGE_SIZE_2M, huge: true, validate }));
const small = (first: number, count: number, validate: boolean) =>
  Array.from({ length: count }, (_, i) => ({ gpa: first + i * PAGE_SIZE, validate }));

describe('GuestService', () => {
  test('serves calls of each processor through VMGEXIT, with one record', () => {
    const world = guestWorld();
    const [one, two] = world.callers as [Caller, Caller];
    const page = { gpa: physAddr(PAGE), size: 0, ignoreUnchanged: false, reserved: 0 };
    pvalidateBySvsm(one.vcpu, one.area, [{ ...page, validate: false }]);
    expect(world.svsm.validated.has(physAddr(PAGE))).toBe(false);
    pvalidateBySvsm(two.vcpu, two.area, [{ ...page, validate: true }]);
    expect(world.svsm.validated.has(physAddr(PAGE))).toBe(true);
    // What one processor has validated, the other one cannot validate again.
    expect(() => pvalidateBySvsm(one.vcpu, one.area, [{ ...page, validate: true }])).toThrow('0x80001010');
    expect(querySvsmProtocol(two.vcpu, two.area, 0, 1)).toEqual({ min: 1, max: 1 });
    expect(world.stale).toEqual([]);
  });

  test('serves a caller on the processor that it is registered with, which is current meanwhile', () => {
    const events: MmEvent[] = [];
    const world = guestWorld({ trace: (event) => events.push(event) });
    const before = world.svsm.cpus.map((cpu) => cpu.temp4k.allocations);
    expect(before).toEqual([1, 1]);
    events.length = 0;
    const result = pvalidate(world, world.callers[1]!, writeList(world.callers[1]!, small(PAGE, 1, false)));
    expect(events).toContainEqual({ type: 'call', call: SvsmCall.Pvalidate, result });
    expect(result).toBe(SvsmResult.Success);
    expect(world.svsm.thisCpu()).toBe(world.svsm.cpus[0]);
  });

  // E12: upstream processes up to 511 entries of 2 MiB in one call.
  test('bounds a call: INCOMPLETE, and the next call goes on', () => {
    const world = guestWorld({ entriesPerCall: 100 });
    const [caller] = world.callers as [Caller];
    const list = writeList(caller, small(PAGE, 250, false));
    const results: number[] = [];
    const progress: number[] = [];
    for (let call = 0; call < 3; call += 1) {
      results.push(pvalidate(world, caller, list));
      progress.push(decodeSvsmListHeader(caller.vcpu.read(virtAddr(list), 8)).next);
    }
    expect(results).toEqual([SvsmResult.Incomplete, SvsmResult.Incomplete, SvsmResult.Success]);
    expect(progress).toEqual([100, 200, 250]);
  });

  // D20: upstream flushes everything before every entry into the guest.
  test.each([
    ['validating 2 MiB each', () => huge(GUEST_START + 4 * MIB, 14, true), 0],
    ['rescinding 2 MiB each', () => huge(GUEST_START + 4 * MIB, 14, false), 1],
    ['rescinding 4 KiB each', () => small(PAGE, 128, false), 1],
  ])('flushes the guest once for a batch, not for each page: %s', (_, entries, broadcasts) => {
    const world = guestWorld();
    const [caller] = world.callers as [Caller];
    if (broadcasts === 0) {
      expect(pvalidate(world, caller, writeList(caller, huge(GUEST_START + 4 * MIB, 14, false)))).toBe(0);
    }
    const list = writeList(caller, entries());
    world.events.length = 0;
    const local = world.svsm.processors.shootDown.counts.local;
    expect(pvalidate(world, caller, list)).toBe(SvsmResult.Success);
    const flushes = world.events.filter((event) => event.type === 'flush' && event.gva === undefined);
    expect(flushes.length).toBe(broadcasts);
    // Of its own addresses, the SVSM flushes 32 at a time; each call uses three beside the pages of the list.
    expect(world.svsm.processors.shootDown.counts.local - local).toBeLessThanOrEqual(5);
    expect(world.stale).toEqual([]);
  });

  test('maps nothing permanently, and takes no frame', () => {
    const world = guestWorld();
    const [caller] = world.callers as [Caller];
    const { svsm } = world;
    const before = svsm.pages.memoryInfo().freePages;
    const leaves = () => svsm.cpus.map(({ part }) => [...part.leaves()].length);
    const mapped = leaves();
    for (const validate of [false, true])
      pvalidate(world, caller, writeList(caller, huge(GUEST_START + 4 * MIB, 14, validate)));
    expect(leaves()).toEqual(mapped);
    expect(svsm.pages.memoryInfo().freePages).toBe(before);
  });

  test.each([
    ['the SVSM', 16 * MIB],
    ['nothing', GUEST_END],
    ['an address past all memory', 2 ** 51],
  ])('refuses a page of %s', (_, gpa) => {
    const world = guestWorld();
    const [caller] = world.callers as [Caller];
    expect(pvalidate(world, caller, writeList(caller, [{ gpa }]))).toBe(SvsmResult.InvalidAddress);
    expect(pvalidate(world, caller, BigInt(gpa))).toBe(SvsmResult.InvalidAddress);
  });

  test('serves nobody after the SVSM has ended, and gives all addresses back', () => {
    const world = guestWorld();
    const [caller] = world.callers as [Caller];
    const { cpus } = world.svsm;
    world.svsm[Symbol.dispose]();
    expect(cpus.map((cpu) => cpu.temp4k.allocations + cpu.temp2m.allocations)).toEqual([0, 0]);
    expect(() => world.svsm.serve(caller.vcpu, registersOf(0))).toThrow('NOT_BOOTED');
    expect(() => world.svsm.guestMemory).toThrow('NOT_BOOTED');
    expect(() => querySvsmProtocol(caller.vcpu, caller.area, 0, 1)).toThrow('SVSM_NOT_RUN');
  });

  test('refuses what is not a processor of the guest or of the SVSM', () => {
    const { svsm, callers } = guestWorld();
    const [caller] = callers as [Caller];
    expect(() => svsm.service.enter({} as never)).toThrow('INVALID_ARGUMENT');
    expect(() => svsm.service.register({} as never, caller.list)).toThrow('INVALID_ARGUMENT');
    expect(() => svsm.service.register(caller.vcpu, caller.list, { cpu: 9 })).toThrow('NO_SUCH_CPU');
    expect(() => svsm.service.on(9)).toThrow('NO_SUCH_CPU');
  });

  test('serves a processor that CREATE_VCPU has made where the SVSM has its APIC ID', () => {
    const world = guestWorld();
    const [caller] = world.callers as [Caller];
    const [vmsa, caa] = [PAGE, PAGE + PAGE_SIZE];
    const image = createVmsa({ vmpl: 2 });
    writeVmsa(image, 'efer', EFER_SVME | 0xd00n);
    caller.vcpu.write(virtAddr(vmsa), image);
    const registers = registersOf(SvsmCall.CreateVcpu, BigInt(vmsa), BigInt(caa), 1n);
    expect(world.svsm.serve(caller.vcpu, registers)).toBe(SvsmResult.Success);
    expect(world.svsm.state.vcpus.map(({ apicId }) => apicId)).toEqual([1]);
    // The page of the VMSA is the SVSM's own now: the guest cannot have it read or changed.
    expect(world.svsm.guestMemory.read(BigInt(vmsa), 1)).toBeUndefined();
    expect(pvalidate(world, caller, writeList(caller, small(vmsa, 1, false)))).toBe(
      SvsmResult.InvalidAddress,
    );
    expect(world.svsm.validated.firstMissingIn(physRegion(physAddr(vmsa), PageSize.Regular))).toBeUndefined();
  });
});
