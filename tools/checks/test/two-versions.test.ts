/** Two versions of a package side by side, as `npm update` can leave them: examples compile and run, and objects cross. */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import process from 'node:process';
import ts from 'typescript';
import { beforeAll, expect, inject, test } from 'vitest';
import { type Fence, fencesOf } from '../fences.ts';
import { PACKAGES } from '../workspace.ts';

const { folder, problem } = inject('consumer');
const node = process.env['HOST_NODE'] ?? process.execPath;
const LOWER = ['address', 'memory-region'];
const UPPER = PACKAGES.map(({ name }) => name).filter((name) => !LOWER.includes(name));
const home = join(folder, 'two-versions');
const modules = join(home, 'node_modules/@svsm');

/** Objects of one version go into functions of the other, in both directions. `@svsm/other-region` is a second version. */
const ACROSS = `
import { PAGE_SIZE, PAGE_SIZE_2M, PageSize, Phys, type PhysAddr, Virt, type VirtAddr, physAddr, virtAddr } from '@svsm/address';
import { getOrder, PageAllocator } from '@svsm/buddy-alloc';
import { MemoryRegion, physRegion, RegionMap, RegionSet, virtRegion } from '@svsm/memory-region';
import * as other from '@svsm/other-region';
import { createPhysMemory, PageTable, pagingConfig, PtePreset } from '@svsm/pagetable';
import { SnpMachine, SvsmState } from '@svsm/sev-snp';

let frame = 0;
const memory = createPhysMemory({ size: 0x10_0000 });
const frames = { allocateFrame: () => physAddr(PAGE_SIZE * frame++), freeFrame: () => {} };
const table = PageTable.create({ memory, frames, config: pagingConfig({ cBit: 51 }) });
const mine: MemoryRegion<VirtAddr> = virtRegion(virtAddr(0xffff_8000_0000_0000n), PAGE_SIZE_2M);
const theirs: other.MemoryRegion<VirtAddr> = other.virtRegion(virtAddr(0xffff_8000_0000_0000n), PAGE_SIZE_2M);
const asMine: MemoryRegion<VirtAddr> = theirs;
const asTheirs: other.MemoryRegion<VirtAddr> = mine;
console.log(mine.equals(theirs), theirs.equals(mine), asMine.overlaps(asTheirs), String(theirs.intersect(mine)));

table.map2m(mine.start, physAddr(0x4000_0000), PtePreset.Data);
for (const heap of [mine, theirs]) {
  const pages = new PageAllocator(heap).allocatePages(getOrder(4 * PAGE_SIZE));
  for (const page of pages.iterPages(PageSize.Regular)) table.setShared4k(page);
  table.setEncryptedRegion(heap);
  console.log(pages.pageCount(), heap.containsRegion(pages), table.lookup(heap.start)?.shared);
}
const set: other.RegionSet<PhysAddr> = new RegionSet(Phys, [other.physRegion(physAddr(0), PAGE_SIZE)]);
const map: RegionMap<VirtAddr, string> = new other.RegionMap<VirtAddr, string>(Virt, [[mine, 'mine']]);
console.log(set.regionCount, map.get(mine.start));

const guest = new SnpMachine({ memorySize: 32 << 20 }).hypervisor.launch({ size: 8 << 20 });
const state = new SvsmState({ memory: guest.memory, own: [physRegion(physAddr(0), 2 << 20), other.physRegion(physAddr(2 << 20), 2 << 20)] });
console.log(state.vcpus.length);
`;

const EXAMPLES: readonly Fence[] = [
  'README.md',
  ...PACKAGES.map(({ name }) => `packages/${name}/README.md`),
].flatMap((file) =>
  fencesOf(file)
    .filter(({ info }) => info === 'ts')
    .slice(0, 1),
);

beforeAll(() => {
  if (problem) throw new Error(`packing failed: ${problem}`);
  install('.', LOWER);
  install('.', UPPER);
  // Each of the others has later versions of its own.
  for (const name of UPPER) install(join(name, 'node_modules/@svsm'), LOWER, '0.98.0');
  install('.', ['memory-region'], '0.99.0', 'other-region');
  install('other-region/node_modules/@svsm', ['address'], '0.99.0');
  mkdirSync(join(home, 'node_modules/@types'));
  for (const types of ['@types/node', 'undici-types']) {
    symlinkSync(join(folder, 'node_modules', types), join(home, 'node_modules', types), 'junction');
  }
  writeFileSync(join(home, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
});

/** Copies packages, with another version than they have. The compiler takes equal names and versions for the same package. */
function install(place: string, names: readonly string[], version?: string, as?: string): void {
  for (const name of names) {
    const target = join(modules, place, as ?? name);
    cpSync(join(folder, 'node_modules/@svsm', name), target, { recursive: true });
    if (version === undefined) continue;
    const file = join(target, 'package.json');
    const manifest = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...manifest, version }));
  }
}

/** The compiler's messages, by the name of the program. All are compiled at once, because the time goes to the declarations. */
function compile(programs: Record<string, string>): Record<string, string[]> {
  const elsewhere: string[] = [];
  const problems: Record<string, string[]> = { elsewhere };
  for (const [name, code] of Object.entries(programs)) {
    writeFileSync(join(home, `${name}.ts`), code);
    problems[name] = [];
  }
  const files = Object.keys(programs).map((name) => join(home, `${name}.ts`));
  const program = ts.createProgram(files, {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    lib: ['lib.es2022.d.ts'],
    types: ['node'],
    strict: true,
    noEmit: true,
  });
  for (const { file, messageText } of ts.getPreEmitDiagnostics(program)) {
    const name = basename(file?.fileName ?? '', '.ts');
    (problems[name] ?? elsewhere).push(ts.flattenDiagnosticMessageText(messageText, '\n'));
  }
  return problems;
}

/** The lines that the program prints. Node 20 does not strip types. */
function run(code: string, name: string): string[] {
  const { outputText } = ts.transpileModule(code, {
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  });
  const file = join(home, `${name}.mjs`);
  writeFileSync(file, outputText);
  return execFileSync(node, [file], { encoding: 'utf8' }).trimEnd().split('\n');
}

test('objects of one version go into functions of the other', () => {
  expect(run(ACROSS, 'across')).toEqual([
    'true true true [0xffff800000000000-0xffff800000200000)',
    '4 true false',
    '4 true false',
    '1 mine',
    '0',
  ]);
});

test.each(EXAMPLES.map((fence) => [fence.at, fence] as const))('%s runs', (at, { code, prints }) => {
  expect(run(code, nameOf(at))).toEqual(prints);
});

test('all of them compile', () => {
  const programs = Object.fromEntries(EXAMPLES.map(({ at, code }) => [nameOf(at), code]));
  const problems = compile({ across: ACROSS, ...programs });
  expect(Object.entries(problems).filter(([, messages]) => messages.length > 0)).toEqual([]);
});

function nameOf(at: string): string {
  return at.replaceAll(/\W/g, '-');
}
