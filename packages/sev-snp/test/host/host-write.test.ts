/** Writes of the host, and its view of memory: the RMP checks each page. */
import { PAGE_SIZE, PageSize, pageNumber } from '@svsm/address';
import { expect, test } from 'vitest';
import { sysPhysAddr } from '../../src/formats/sys-phys-addr.ts';
import { hostView, hostWrite } from '../../src/host/host-write.ts';
import { bytesOf, codeOf, MiB, spaOf, thrownBy, world } from '../support/world.ts';

const it = world();
const { machine } = it;
const page = spaOf(it, 4 * MiB);
/** A page of the host whose neighbours are free too. */
const free = sysPhysAddr(31 * MiB);
const view = hostView(machine);

test('the view checks writes, and lends the words of a page of the guest as a copy only', () => {
  expect(thrownBy(() => view.words(pageNumber(page), true))).toMatchObject({
    code: 'HOST_PF',
    details: { errorCode: 0x8000_0003, spa: page, check: 'hypervisor-owned' },
  });
  const plain = sysPhysAddr(free + 0x6000n);
  view.words(pageNumber(plain), true)[0] = 1;
  machine.hypervisor.rmpupdate(plain, { assigned: true, immutable: true });
  view.words(pageNumber(plain), false)[0] = 2;
  expect(view.words(pageNumber(plain), false)[0]).toBe(1);
});

test('the words of a page of the host are the page', () => {
  view.words(pageNumber(free), true)[0] = 7;
  expect(view.words(pageNumber(free), false)[0]).toBe(7);
  const words = view.words(pageNumber(free), false);
  view.words(pageNumber(free), true)[0] = 8;
  expect(words[0]).toBe(8);
  expect(view.wordOffset(pageNumber(free))).toBe(0);
});

test('the epoch is that of the memory: the words that a page has had are not its words after a clearing', () => {
  expect(view.epoch).toBe(machine.memory.view(0 as never).epoch);
  expect(typeof view.epoch).toBe('number');
});

test('a write changes all its pages, or none', () => {
  hostWrite(machine, free, bytesOf('text'), PageSize.Regular);
  expect(machine.hypervisor.read(free, 4)).toEqual(bytesOf('text'));
  const taken = sysPhysAddr(free + 0x3000n);
  machine.hypervisor.rmpupdate(taken, { assigned: true, immutable: true });
  hostWrite(machine, sysPhysAddr(taken - 4n), bytesOf('four'), PageSize.Regular);
  hostWrite(machine, taken, new Uint8Array(), PageSize.Regular);
  const before = machine.hypervisor.read(free, 0x5000);
  for (const [at, length] of [
    [taken - 4n, 5],
    [taken, 1],
    [taken + 0xfffn, 1],
    [taken - 5000n, 5001],
    [taken - 1n, 0x2000],
  ] as const) {
    const bytes = new Uint8Array(length).fill(9);
    expect(codeOf(() => hostWrite(machine, sysPhysAddr(at), bytes, PageSize.Regular))).toBe('HOST_PF');
    expect(machine.hypervisor.read(free, 0x5000)).toEqual(before);
  }
});

test('a write through a large page needs all of it: AMD64 APM vol. 2, §15.36.10', () => {
  machine.hypervisor.rmpupdate(sysPhysAddr(free + BigInt(PAGE_SIZE)), { assigned: true, immutable: true });
  expect(thrownBy(() => hostWrite(machine, free, bytesOf('x'), PageSize.Huge))?.details).toMatchObject({
    errorCode: 0x8000_0003,
  });
  hostWrite(machine, free, bytesOf('x'), PageSize.Regular);
});
