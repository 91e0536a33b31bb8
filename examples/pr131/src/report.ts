import { formatAddress, PAGE_SIZE, PageSize } from '@svsm/address';
import type { KernelReport } from './kernel.ts';
import type { Attempt, HeapView, LoopReport, PageView, StoryReport } from './story.ts';

/** The styles of text. Without colour, each function returns the text unchanged. */
export interface Style {
  title(text: string): string;
  shared(text: string): string;
  fault(text: string): string;
  faint(text: string): string;
}

const sgr =
  (code: number) =>
  (text: string): string =>
    `\u001b[${code}m${text}\u001b[0m`;
const same = (text: string): string => text;

/** The style with colour, for a terminal, or without, for a file or if NO_COLOR is set (https://no-color.org). */
export function styleFor(colour: boolean): Style {
  if (!colour) return { title: same, shared: same, fault: same, faint: same };
  return { title: sgr(1), shared: sgr(32), fault: sgr(31), faint: sgr(2) };
}

/** The report as lines of at most 80 columns. */
export function render(story: StoryReport, kernel: KernelReport, style: Style): string {
  const lines = [
    style.title('PR#131: allocate four contiguous pages and share them with the hypervisor'),
    '',
    `A guest of ${story.guestSize / 1024 ** 2} MiB, launched private and validated. C-bit ${story.cBit}.`,
    `Its heap is mapped by 2 MiB pages, with ${describeHeap(story.heap)}.`,
    ...story.loops.flatMap((loop, i) => ['', ...renderLoop(loop, i + 1, style)]),
    '',
    ...renderAttempts(story.attempts, style),
    '',
    ...renderKernel(kernel, style),
  ];
  return lines.join('\n');
}

function renderLoop(loop: LoopReport, number: number, style: Style): string[] {
  return [
    style.title(`Loop ${number}: ${loop.code}`),
    `  allocatePages(getOrder(4 * PAGE_SIZE)) leaves ${describeHeap(loop.heap)}.`,
    '',
    `  ${'before'.padEnd(18)} ${'entry'.padEnd(18)} ${'page'.padEnd(6)} ${'C'.padEnd(2)} RMP entry`,
    ...loop.before.map((page) => renderPage(page, style)),
    '',
    '  Events for the first page:',
    ...loop.steps.map((step) => style.faint(`    ${step}`)),
    '',
    `  ${'after'.padEnd(18)} ${'entry'.padEnd(18)} ${'page'.padEnd(6)} ${'C'.padEnd(2)} RMP entry`,
    ...loop.after.map((page) => renderPage(page, style)),
    `  Of the 512 pages in this 2 MiB, ${loop.small} have a 4 KiB entry; ${loop.shared} are shared.`,
  ];
}

function renderPage({ vaddr, entry, pageSize, cBit, rmp }: PageView, style: Style): string {
  const owner = rmp.assigned ? `ASID ${rmp.asid} ${size(rmp.pageSize)}` : '';
  const line =
    `  ${formatAddress(vaddr)} ${formatAddress(entry)} ${size(pageSize).padEnd(6)} ${cBit ? '1' : '0'}  ` +
    `${owner === '' ? rmp.state : `${rmp.state.padEnd(13)} ${owner}`}`;
  return cBit ? line : style.shared(line);
}

function renderAttempts(attempts: readonly Attempt[], style: Style): string[] {
  const lines = [style.title('Accesses by guest and hypervisor')];
  for (const { who, what, result } of attempts) {
    const isFault = /#(VC|PF|GP|VMEXIT)/.test(result);
    const head = `  ${who.padEnd(11)} ${what}`;
    const paint = isFault ? style.fault : style.shared;
    const oneLine = `${head}: ${result}`;
    if (oneLine.length <= 80) lines.push(`${head}: ${paint(result)}`);
    else lines.push(`${head}:`, ...wrap(result, 66).map((part) => `              ${paint(part)}`));
  }
  return lines;
}

function renderKernel(kernel: KernelReport, style: Style): string[] {
  return [
    style.title('The same loop on the page tables of a real kernel'),
    `  ${kernel.kernel}: ${kernel.tables} tables, opened from CR3 ${formatHex(kernel.cr3)}.`,
    `  ${kernel.agreed} of ${kernel.checked} translations agree with the emulator that ran it.`,
    '  The C-bit, bit 47, was set in all entries. Then four pages of the direct map',
    '  were shared:',
    '',
    `  ${'page'.padEnd(18)} entry`,
    `  ${formatAddress(kernel.largePage)} ${formatAddress(kernel.leafBefore)} 2 MiB page, before`,
    `  ${formatAddress(kernel.largePage)} ${formatAddress(kernel.tableAfter)} page table, after`,
    ...kernel.shared.map(({ vaddr, after }) =>
      style.shared(`  ${formatAddress(vaddr)} ${formatAddress(after)} 4 KiB page, C = 0`),
    ),
    '',
    `  ${kernel.unchanged} of ${kernel.translations} translations are unchanged, bit for bit. The other ${kernel.translations - kernel.unchanged}`,
    '  are the pages above.',
  ];
}

const formatHex = (value: bigint): string => `0x${value.toString(16)}`;

function describeHeap({ totalPages, freePages, freeBlocks }: HeapView): string {
  const blocks = freeBlocks
    .map((count, order) => (count > 0 ? `${count}×${size(PAGE_SIZE * 2 ** order)}` : ''))
    .filter((text) => text !== '');
  const list = blocks.join(' ');
  return `${freePages} of ${totalPages} pages free${list === '' ? '' : `:\n  ${list}`}`;
}

function size(bytes: number): string {
  if (bytes >= PageSize.Giant) return `${bytes / PageSize.Giant}G`;
  return bytes >= 1024 ** 2 ? `${bytes / 1024 ** 2}M` : `${bytes / 1024}K`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [''];
  for (const word of text.split(' ')) {
    const line = lines.at(-1) as string;
    if (line !== '' && line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = line === '' ? word : `${line} ${word}`;
  }
  return lines;
}
