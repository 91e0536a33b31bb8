/** The listing of an RMP is what the machine of @svsm/sev-snp says about each page. */
import { PAGE_SIZE, physAddr } from '@svsm/address';
import { pageStateOf, type SysPhysAddr } from '@svsm/sev-snp';
import { describe, expect, test } from 'vitest';
import { openSavedRmp } from '../../src/backing/rmp-table.ts';
import { bytesSource } from '../../src/source/bytes-source.ts';
import { listRmp } from '../../src/view/rmp-listing.ts';
import { MEMORY, rmpBytes, SnpHost } from '../support/snp-host.ts';

describe('listRmp', () => {
  test('lists each page with its state, joined where the guest addresses follow', () => {
    const host = new SnpHost();
    host.split(0);
    host.change(0x2000, { validated: false });
    for (const gpa of [0x1000, 0x3000]) {
      host.change(gpa, { assigned: false, asid: 0, validated: false, gpa: physAddr(0) });
    }
    const table = openSavedRmp(bytesSource(rmpBytes(host.rmp)));
    const records = [...listRmp(host.guestDump(), table)];
    let at = 0n;
    for (const record of records) {
      if (record.type !== 'rmp') continue;
      expect(record.start).toBe(at);
      for (; at < record.end; at += 4096n) {
        const entry = host.rmp.entry(at as SysPhysAddr)!;
        expect(record.state).toBe(pageStateOf(entry));
        expect(record.asid).toBe(entry.asid);
      }
    }
    expect(at).toBe(BigInt(MEMORY));
    const own = [...listRmp(host.guestDump(), table, { asid: host.guest.asid })];
    expect(own.at(-1)).toMatchObject({ type: 'end', bytes: BigInt(2046 * PAGE_SIZE) });
  });
});
