import { textOf } from '../source/source.ts';
import type { KernelFacts } from './dump.ts';

export const VMCOREINFO = 'VMCOREINFO';

/** A kernel writes about 3 KiB. */
const MAX_BYTES = 0x1_0000;
/** The virtual address of the kernel's text mapping (`__START_KERNEL_map`), in which the top table of the kernel lies. */
const TEXT_MAP = 0xffff_ffff_8000_0000n;
/** KERNEL_IMAGE_SIZE: 512 MiB, or 1 GiB if the text can be randomized. */
const IMAGE_SIZES: readonly bigint[] = [0x2000_0000n, 0x4000_0000n];
const MASK = 0xf_ffff_ffff_ffffn;

/**
 * The facts about page tables in a kernel's VMCOREINFO, which is text of the form `NAME=value`, a line each:
 * `SYMBOL(swapper_pg_dir)` or `SYMBOL(init_top_pgt)` in hexadecimal, `NUMBER(phys_base)`, `NUMBER(pgtable_l5_enabled)` and
 * `NUMBER(sme_mask)` in decimal, `KERNELOFFSET` and `SYMBOL(_stext)` in hexadecimal, `NUMBER(KERNEL_IMAGE_SIZE)` in decimal,
 * `OSRELEASE`. A fact that is missing or not a number is left out.
 */
export function kernelFactsOf(bytes: Uint8Array): KernelFacts {
  const text = textOf(bytes.subarray(0, MAX_BYTES));
  const values = new Map<string, string>();
  for (const line of text.split('\n')) {
    const split = line.indexOf('=');
    if (split > 0) values.set(line.slice(0, split), line.slice(split + 1));
  }
  const top = hex(values.get('SYMBOL(swapper_pg_dir)') ?? values.get('SYMBOL(init_top_pgt)'));
  const base = decimal(values.get('NUMBER(phys_base)'));
  const levels = decimal(values.get('NUMBER(pgtable_l5_enabled)'));
  const cBit = bitOf(decimal(values.get('NUMBER(sme_mask)')));
  const kernelOffset = hex(values.get('KERNELOFFSET'));
  const textStart = hex(values.get('SYMBOL(_stext)'));
  const imageSize = decimal(values.get('NUMBER(KERNEL_IMAGE_SIZE)'));
  const isImage = imageSize !== undefined && IMAGE_SIZES.includes(imageSize);
  const release = values.get('OSRELEASE');
  return {
    ...(top !== undefined && top >= TEXT_MAP && base !== undefined
      ? { cr3: (top - TEXT_MAP + base) & MASK & ~0xfffn }
      : {}),
    ...(levels === undefined ? {} : { levels: levels === 0n ? 4 : 5 }),
    ...(cBit === undefined ? {} : { cBit }),
    ...(kernelOffset === undefined ? {} : { kernelOffset }),
    ...(textStart === undefined ? {} : { textStart }),
    ...(isImage ? { imageSize } : {}),
    ...(release === undefined ? {} : { release: release.slice(0, 128) }),
  };
}

function hex(text: string | undefined): bigint | undefined {
  return text !== undefined && /^[0-9a-f]{1,16}$/i.test(text) ? BigInt(`0x${text}`) : undefined;
}

function decimal(text: string | undefined): bigint | undefined {
  return text !== undefined && /^-?\d{1,20}$/.test(text) ? BigInt(text) : undefined;
}

/** The bit of a mask with a single bit from 32 to 51. */
function bitOf(mask: bigint | undefined): number | undefined {
  for (let bit = 32; bit <= 51; bit += 1) if (mask === 1n << BigInt(bit)) return bit;
  return undefined;
}
